//! Plays the steps, one after the other.
use super::{
    parse::{Line, OfBody, OfData, OfLines, Setup, Step, Transcript},
    pattern::{Codes, Reading, Template, Variables, show},
    reply::Reply,
    world::{Outcome, World},
};
use crate::proto::codec::deflate::{Deflater, Inflater};
use alloc::{
    collections::VecDeque,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// The dialogue took another course than the transcript's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The line of the transcript, counted from 1; the one behind the last for what happened after its end.
    pub line: usize,
    /// What the line says.
    pub step: String,
    /// What was expected.
    pub expected: String,
    /// What came instead.
    pub came: String,
    /// The last lines of the dialogue before that, the client's and the server's.
    pub dialogue: Vec<String>,
}

impl core::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, step, expected, came, dialogue } = self;
        write!(f, "line {line}: `{step}`\n  expected {expected}\n  but got  {came}")?;
        if !dialogue.is_empty() {
            f.write_str("\n  after")?;
        }
        dialogue.iter().try_for_each(|said| write!(f, "\n    {said}"))
    }
}

impl Transcript {
    /// Plays this transcript against any world. [`Player::play`](super::Player::play) does so against a session.
    ///
    /// The world must be set up as the headers say: [`Transcript::configure`](Transcript::configure),
    /// [`Transcript::is_ipv6`], [`Transcript::needs`].
    ///
    /// # Errors
    /// The first [`Mismatch`].
    pub fn play(&self, world: &mut dyn World) -> Result<(), Mismatch> {
        let mut stage = Stage {
            world,
            inbox: Vec::new(),
            address: None,
            reply: None,
            data: Vec::new(),
            lines: None,
            data_end: false,
            variables: Variables::new(),
            dialogue: VecDeque::new(),
        };
        for line in &self.steps {
            match stage.step(line) {
                Ok(Next::Step) => {}
                Ok(Next::End) => return Ok(()),
                Err(Trouble { expected, came }) => return Err(stage.mismatch(line.number, &line.text, expected, came)),
            }
        }
        let number = self.steps.last().map_or(1, |line| line.number + 1);
        match stage.leftover() {
            Ok(leftover) if leftover.is_empty() => Ok(()),
            Ok(leftover) => Err(stage.mismatch(number, "(the end)", "no further reply".into(), quoted(&leftover))),
            Err(came) => Err(stage.mismatch(number, "(the end)", "no further reply".into(), came)),
        }
    }
}

/// What a step wants, and what came.
struct Trouble {
    expected: String,
    came: String,
}

enum Next {
    Step,
    End,
}

/// What the client knows.
struct Stage<'a> {
    world: &'a mut dyn World,
    /// Octets of the control connection that no step has taken yet.
    inbox: Vec<u8>,
    /// The port of the last 227 or 229.
    address: Option<u16>,
    /// The reply that `S: CODE-` opened, the lines of its body that no `S+` has used, and the line for the next `S|`.
    reply: Option<(Reply, Vec<bool>, usize)>,
    /// What has been read of the data channel.
    data: Vec<u8>,
    /// The lines of `data` that no step has used yet, once it is complete.
    lines: Option<Vec<Vec<u8>>>,
    data_end: bool,
    variables: Variables,
    dialogue: VecDeque<String>,
}

impl Stage<'_> {
    fn mismatch(&self, line: usize, step: &str, expected: String, came: String) -> Mismatch {
        Mismatch { line, step: step.into(), expected, came, dialogue: self.dialogue.iter().cloned().collect() }
    }

    fn step(&mut self, line: &Line) -> Result<Next, Trouble> {
        let on_data = expected("an open data channel");
        match &line.step {
            Step::Send { octets, line_end, urgent } => {
                let mut octets = octets.octets(&self.variables).map_err(expected("octets to send"))?;
                octets.extend_from_slice(if *line_end { b"\r\n" } else { b"" });
                self.send(&octets, *urgent)?;
            }
            Step::HangUp => self.world.hang_up().map_err(expected("an open control connection"))?,
            Step::Lose => self.world.lose().map_err(expected("an open control connection"))?,
            Step::Reply { codes, text, single } => {
                let wanted = || wanted(codes, text.as_ref(), if *single { "the single line" } else { "" }, line);
                let reply = self.next_reply().map_err(|came| Trouble { expected: wanted(), came })?;
                let fits = codes.contain(reply.code()) && (reply.is_single() || !single);
                self.check(fits, text.as_ref(), reply.last_text(), &reply, wanted)?;
            }
            Step::ReplyBegins { codes, text } => {
                let wanted = || wanted(codes, text.as_ref(), "a reply of several lines,", line);
                let reply = self.next_reply().map_err(|came| Trouble { expected: wanted(), came })?;
                let fits = codes.contain(reply.code()) && !reply.is_single();
                self.check(fits, text.as_ref(), reply.first_text(), &reply, wanted)?;
                let unused = reply.body().iter().map(|_| true).collect();
                self.reply = Some((reply, unused, 0));
            }
            Step::Body(step) => self.within(step, line)?,
            Step::ReplyMatches(expression) => {
                let reply = self.next_reply().map_err(expected("a reply"))?;
                let found = expression.find(&reply.joined(), Reading::Text, &mut self.variables);
                if !found.map_err(expected("a match"))? {
                    return Err(Trouble { expected: "a reply that matches".into(), came: quoted(&reply.joined()) });
                }
            }
            Step::Octets(octets) => {
                let octets = octets.octets(&self.variables).map_err(expected("octets"))?;
                let trouble = |came| Trouble { expected: quoted(&octets), came };
                while self.inbox.len() < octets.len() && self.world.receive(&mut self.inbox).map_err(trouble)? {}
                if !self.inbox.starts_with(&octets) {
                    return Err(trouble(quoted(&self.inbox)));
                }
                self.inbox.drain(..octets.len());
            }
            Step::Silence => {
                let leftover = self.leftover().map_err(expected("no reply yet"))?;
                if !leftover.is_empty() {
                    return Err(Trouble { expected: "no reply yet".into(), came: quoted(&leftover) });
                }
            }
            Step::SetUp(setup) => self.set_up(setup)?,
            Step::Connect { from } => self.connect(*from, true)?,
            Step::DataHandshake => self.world.data_handshake().map_err(expected("TLS on the data channel"))?,
            Step::DataSend(octets) => {
                let octets = octets.octets(&self.variables).map_err(expected("octets to send"))?;
                self.world.data_send(&octets).map_err(on_data)?;
            }
            Step::DataSendPacked(octets) => {
                let octets = octets.octets(&self.variables).map_err(expected("octets to send"))?;
                let (mut deflater, mut packed) = (Deflater::new(6), Vec::new());
                deflater.deflate(&octets, &mut packed);
                deflater.finish(&mut packed);
                self.world.data_send(&packed).map_err(on_data)?;
            }
            Step::DataEnd => self.world.data_end().map_err(on_data)?,
            Step::DataDrop => self.world.data_drop().map_err(on_data)?,
            Step::DataAtLeast(count) => {
                self.read(*count)?;
                if self.data.len() < *count {
                    let came = format!("the end of the data after {} octets", self.data.len());
                    return Err(Trouble { expected: format!("{count} octets of data"), came });
                }
            }
            Step::DataClosed => self.read(usize::MAX)?,
            Step::Data(step) => self.whole_data(step)?,
            Step::DataLines(step) => self.data_lines(step)?,
            Step::Handshake { name, or_end } => {
                if !self.world.handshake(name.as_deref()).map_err(expected("a TLS handshake"))? {
                    if *or_end {
                        return Ok(Next::End);
                    }
                    return Err(Trouble { expected: "a TLS handshake".into(), came: "the end of the connection".into() });
                }
            }
            Step::EndTls => self.world.end_tls().map_err(expected("the end of TLS"))?,
            Step::Wait(time) => self.world.wait(*time).map_err(expected("that time passes"))?,
            Step::WaitClose => {
                while self.world.receive(&mut self.inbox).map_err(expected("the control connection closed"))? {}
                if !self.inbox.is_empty() {
                    let came = format!("{} before it", quoted(&self.inbox));
                    return Err(Trouble { expected: "the control connection closed".into(), came });
                }
            }
            Step::Stop { at_once } => self.world.stop(*at_once).map_err(expected("a server that can be stopped"))?,
            Step::Unplayable(what) => {
                return Err(Trouble { expected: (*what).into(), came: "a player that does not know it".into() });
            }
        }
        Ok(Next::Step)
    }

    fn send(&mut self, octets: &[u8], urgent: bool) -> Result<(), Trouble> {
        self.say("C:", octets);
        self.world.send(octets, urgent).map_err(expected("an open control connection"))
    }

    /// The next complete reply; an error says what came instead.
    fn next_reply(&mut self) -> Outcome<Reply> {
        loop {
            if let Some(reply) = Reply::take(&mut self.inbox)? {
                self.say("S:", &reply.joined());
                return Ok(reply);
            }
            if !self.world.receive(&mut self.inbox)? {
                return match self.inbox.as_slice() {
                    [] => Err("the end of the control connection".into()),
                    rest => Err(format!("the end of the control connection behind {}", quoted(rest))),
                };
            }
        }
    }

    /// Octets of the control connection that nobody has asked for.
    fn leftover(&mut self) -> Outcome<Vec<u8>> {
        self.world.received(&mut self.inbox)?;
        Ok(self.inbox.clone())
    }

    fn check(
        &self,
        fits: bool,
        text: Option<&Template>,
        came: &[u8],
        reply: &Reply,
        wanted: impl Fn() -> String,
    ) -> Result<(), Trouble> {
        let matches = text.map_or(Ok(true), |text| text.matches(came, &self.variables));
        match matches {
            Ok(matches) if matches && fits => Ok(()),
            Ok(_) => Err(Trouble { expected: wanted(), came: quoted(&reply.joined()) }),
            Err(came) => Err(Trouble { expected: wanted(), came }),
        }
    }

    /// Steps on the body of the reply that `S: CODE-` opened.
    fn within(&mut self, step: &OfBody, line: &Line) -> Result<(), Trouble> {
        let Some((reply, unused, next)) = &mut self.reply else {
            return Err(Trouble { expected: "a reply of several lines".into(), came: "none".into() });
        };
        let fail = |expected: &str, reply: &Reply| Err(Trouble { expected: expected.into(), came: quoted(&reply.joined()) });
        let trouble = expected("a glob");
        match step {
            OfBody::Has(glob) => {
                let mut found = None;
                for (index, line) in reply.body().iter().enumerate() {
                    if unused[index] && glob.matches(line, &self.variables).map_err(trouble)? {
                        found = Some(index);
                        break;
                    }
                }
                match found {
                    Some(index) => unused[index] = false,
                    None => return fail("a line of the reply that matches", reply),
                }
            }
            OfBody::Lacks(glob) => {
                for line in reply.body() {
                    if glob.matches(line, &self.variables).map_err(trouble)? {
                        return fail("no line of the reply that matches", reply);
                    }
                }
            }
            OfBody::Continues(glob) => {
                let line = reply.body().get(*next);
                *next += 1;
                if !line.map_or(Ok(false), |line| glob.matches(line, &self.variables)).map_err(trouble)? {
                    return fail("the next line of the reply to match", reply);
                }
            }
            OfBody::Ends { codes, text } => {
                let reply = reply.clone();
                self.reply = None;
                let wanted = || wanted(codes, text.as_ref(), "the last line", line);
                self.check(codes.contain(reply.code()), text.as_ref(), reply.last_text(), &reply, wanted)?;
            }
        }
        Ok(())
    }

    /// `D:`: a new data channel.
    fn set_up(&mut self, setup: &Setup) -> Result<(), Trouble> {
        self.data.clear();
        self.lines = None;
        self.data_end = false;
        let listen = |world: &mut dyn World| world.listen().map_err(expected("a port to listen on"));
        let (command, code) = match setup {
            Setup::Passive(command) => (command.clone(), if command.starts_with("PASV") { *b"227" } else { *b"229" }),
            Setup::Port => (port_command(listen(self.world)?)?, *b"200"),
            Setup::Eprt => (eprt_command(listen(self.world)?), *b"200"),
        };
        self.send(format!("{command}\r\n").as_bytes(), false)?;
        let expected = format!("the reply {} to {command}", show(&code));
        let reply = self.next_reply().map_err(|came| Trouble { expected: expected.clone(), came })?;
        if reply.code() != code {
            return Err(Trouble { expected, came: quoted(&reply.joined()) });
        }
        match setup {
            Setup::Passive(_) => self.connect(None, false),
            Setup::Port | Setup::Eprt => Ok(()),
        }
    }

    fn connect(&mut self, from: Option<IpAddr>, at_once: bool) -> Result<(), Trouble> {
        let trouble = expected("a port that takes a data connection");
        self.data.clear();
        self.lines = None;
        self.data_end = false;
        let port = self.address.ok_or_else(|| trouble("no reply 227 or 229 before".into()))?;
        self.world.connect(port, from, at_once).map_err(trouble)
    }

    /// Reads data until there are `at_least` octets, or all.
    fn read(&mut self, at_least: usize) -> Result<(), Trouble> {
        if !self.data_end && self.data.len() < at_least {
            let trouble = expected("data");
            self.data_end = self.world.data_read(at_least, &mut self.data).map_err(trouble)?;
        }
        Ok(())
    }

    fn whole_data(&mut self, step: &OfData) -> Result<(), Trouble> {
        self.read(usize::MAX)?;
        let trouble = expected("data");
        let (fits, expected) = match step {
            OfData::Count(count) => (self.data.len() == *count, format!("{count} octets of data")),
            OfData::Is(octets) => {
                let octets = octets.octets(&self.variables).map_err(trouble)?;
                (self.data == octets, format!("the data {}", quoted(&octets)))
            }
            OfData::IsPacked(octets) => {
                let octets = octets.octets(&self.variables).map_err(trouble)?;
                let (mut inflater, mut data) = (Inflater::default(), Vec::new());
                let all = inflater.inflate(&self.data, &mut data, octets.len() + 1) == Ok(self.data.len());
                (all && inflater.is_ended() && data == octets, format!("a zlib stream of the data {}", quoted(&octets)))
            }
            OfData::Matches(expression) => {
                let found = expression.find(&self.data, Reading::Octets, &mut self.variables).map_err(trouble)?;
                (found, "data that matches".into())
            }
        };
        if fits {
            Ok(())
        } else {
            Err(Trouble { expected, came: format!("{} ({} octets)", quoted(&self.data), self.data.len()) })
        }
    }

    fn data_lines(&mut self, step: &OfLines) -> Result<(), Trouble> {
        self.read(usize::MAX)?;
        let came = || quoted(&self.data);
        let mut lines = match self.lines.take() {
            Some(lines) => lines,
            None => split(&self.data).map_err(|line| Trouble {
                expected: "lines that end in CR LF".into(),
                came: format!("{} at the end of {}", quoted(line), came()),
            })?,
        };
        let trouble = expected("a glob");
        let mut position = None;
        for (index, line) in lines.iter().enumerate() {
            let fits = match step {
                OfLines::Next(glob) => Ok(index == 0 && glob.matches(line, &self.variables).map_err(trouble)?),
                OfLines::Has(glob) | OfLines::Lacks(glob) => glob.matches(line, &self.variables),
                OfLines::HasMatch(expression) => expression.find(line, Reading::Text, &mut self.variables),
                OfLines::End => Ok(false),
            };
            if fits.map_err(trouble)? {
                position = Some(index);
                break;
            }
        }
        let fail = |expected: &str| Err(Trouble { expected: expected.into(), came: came() });
        match (step, position) {
            (OfLines::Lacks(_), None) => {}
            (OfLines::Lacks(_), Some(_)) => return fail("no line of the data that matches"),
            (OfLines::End, _) if lines.is_empty() => {}
            (OfLines::End, _) => return fail("no further line of the data"),
            (_, Some(index)) => drop(lines.remove(index)),
            (_, None) => return fail("a line of the data that matches"),
        }
        self.lines = Some(lines);
        Ok(())
    }

    /// Keeps what is said for a message, and looks for a passive port in it.
    fn say(&mut self, who: &str, octets: &[u8]) {
        const KEPT: usize = 12;
        if self.dialogue.len() == KEPT {
            self.dialogue.pop_front();
        }
        self.dialogue.push_back(format!("{who} {}", show(octets.strip_suffix(b"\r\n").unwrap_or(octets))));
        if who == "S:" {
            self.address = passive_port(octets).or(self.address);
        }
    }
}

/// Makes a [`Trouble`] of what came.
fn expected(expected: &str) -> impl Fn(String) -> Trouble + Copy {
    move |came| Trouble { expected: expected.into(), came }
}

fn quoted(octets: &[u8]) -> String {
    format!("\"{}\"", show(octets))
}

fn wanted(codes: &Codes, text: Option<&Template>, what: &str, line: &Line) -> String {
    match text {
        None => format!("{what} {codes}").trim().into(),
        Some(_) => {
            format!("{what} {codes} with the text {}", line.text.splitn(3, ' ').nth(2).unwrap_or_default()).trim().into()
        }
    }
}

/// Lines of data, without their CR LF; an error is what is left at the end without one.
fn split(data: &[u8]) -> Result<Vec<Vec<u8>>, &[u8]> {
    let mut lines = Vec::new();
    let mut rest = data;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(rest[..end].to_vec());
        rest = &rest[end + 2..];
    }
    if rest.is_empty() { Ok(lines) } else { Err(rest) }
}

/// The port that a 227 (RFC 1123 section 4.1.2.6: the first digits of the text) or a 229 (RFC 2428 section 3) names.
fn passive_port(reply: &[u8]) -> Option<u16> {
    let text = core::str::from_utf8(reply.get(4..)?).ok()?;
    match &reply[..4] {
        b"227 " => {
            let numbers = &text[text.find(|c: char| c.is_ascii_digit())?..];
            let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(numbers.len());
            let mut numbers = numbers[..end].split(',').map(str::parse::<u8>);
            let (high, low) = (numbers.nth(4)?.ok()?, numbers.next()?.ok()?);
            Some(u16::from_be_bytes([high, low]))
        }
        b"229 " => text.split_once("(|||")?.1.split_once("|)")?.0.parse().ok(),
        _ => None,
    }
}

fn port_command(address: SocketAddr) -> Result<String, Trouble> {
    match address {
        SocketAddr::V4(v4) => Ok(format!("PORT {}", crate::proto::address::host_port(*v4.ip(), v4.port()))),
        SocketAddr::V6(v6) => Err(Trouble { expected: "an IPv4 address for PORT".into(), came: v6.to_string() }),
    }
}

fn eprt_command(address: SocketAddr) -> String {
    format!("EPRT |{}|{}|{}|", if address.is_ipv4() { 1 } else { 2 }, address.ip(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passive_ports_are_found() {
        assert_eq!(passive_port(b"227 Entering Passive Mode (127,0,0,1,200,1)."), Some(51201));
        assert_eq!(passive_port(b"227 =10,0,0,1,0,80"), Some(80));
        assert_eq!(passive_port(b"229 Extended (|||4711|)"), Some(4711));
        assert_eq!(passive_port(b"227 (1,2,3,4,5)"), None);
        assert_eq!(passive_port(b"200 (|||4711|)"), None);
    }

    #[test]
    fn commands_for_a_listening_client() {
        assert_eq!(port_command("127.0.0.1:51201".parse().unwrap()).ok().unwrap(), "PORT 127,0,0,1,200,1");
        assert_eq!(eprt_command("[::1]:51201".parse().unwrap()), "EPRT |2|::1|51201|");
        assert!(port_command("[::1]:1".parse().unwrap()).is_err());
    }

    #[test]
    fn data_lines_need_their_ends() {
        assert_eq!(split(b"a\r\n\r\nb\nc\r\n"), Ok([&b"a"[..], b"", b"b\nc"].map(<[u8]>::to_vec).to_vec()));
        assert_eq!(split(b"a\r\nb"), Err(&b"b"[..]));
    }
}
