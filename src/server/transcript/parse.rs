//! Reads the text of a transcript into steps.
use super::{
    fault::Fault,
    pattern::{Codes, Expression, Syntax, Template},
    setting::Setting,
};
use crate::proto::session::Tls;
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{net::IpAddr, time::Duration};

/// A dialogue between a client and a server, read and checked: see [the format](super#the-format).
///
/// ```
/// use wharf::server::transcript::Transcript;
/// let transcript = Transcript::parse("@rfc 959 5.4\nS: 220\nC: QUIT\nS: 221\nW: close\n")?;
/// assert_eq!(transcript.len(), 4);
/// let error = Transcript::parse("S: 220\nC; QUIT\n").unwrap_err();
/// assert_eq!(error.to_string(), "line 2: `C;` begins no step and no header");
/// # Ok::<(), wharf::server::transcript::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Transcript {
    pub(super) steps: Vec<Line>,
    rfc: String,
    needs: Vec<String>,
    pub(super) settings: Vec<Setting>,
    pub(super) faults: Vec<Fault>,
    ipv6: bool,
    pub(super) tls: Option<Tls>,
}

/// The text is no transcript.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ParseError {
    /// Where, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

/// A step, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) text: String,
    pub(super) step: Step,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Send {
        octets: Template,
        line_end: bool,
        urgent: bool,
    },
    HangUp,
    Lose,
    Reply {
        codes: Codes,
        text: Option<Template>,
        single: bool,
    },
    ReplyBegins {
        codes: Codes,
        text: Option<Template>,
    },
    Body(OfBody),
    ReplyMatches(Expression),
    Octets(Template),
    Silence,
    SetUp(Setup),
    Connect {
        from: Option<IpAddr>,
    },
    DataSend(Template),
    /// As a zlib stream.
    DataSendPacked(Template),
    DataEnd,
    DataDrop,
    DataLines(OfLines),
    Data(OfData),
    DataAtLeast(usize),
    DataClosed,
    Handshake {
        name: Option<String>,
        or_end: bool,
    },
    DataHandshake,
    EndTls,
    Wait(Duration),
    WaitClose,
    Stop {
        at_once: bool,
    },
    /// A step that is known and not played: what the server would have to have.
    Unplayable(&'static str),
}

/// A step on the body of a reply.
#[derive(Clone, Debug)]
pub(super) enum OfBody {
    Has(Template),
    Lacks(Template),
    Continues(Template),
    Ends { codes: Codes, text: Option<Template> },
}

/// A step on lines of data.
#[derive(Clone, Debug)]
pub(super) enum OfLines {
    Next(Template),
    Has(Template),
    HasMatch(Expression),
    Lacks(Template),
    End,
}

/// A step on data as a whole.
#[derive(Clone, Debug)]
pub(super) enum OfData {
    Is(Template),
    /// It is a zlib stream of this.
    IsPacked(Template),
    Matches(Expression),
    Count(usize),
}

/// How a data channel is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// EPSV or PASV, as it is to be sent.
    Passive(String),
    Port,
    Eprt,
}

impl Transcript {
    /// Reads a transcript.
    ///
    /// # Errors
    /// [`ParseError`], which names the first line that is none of a transcript.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut transcript = Self {
            steps: Vec::new(),
            rfc: String::new(),
            needs: Vec::new(),
            settings: Vec::new(),
            faults: Vec::new(),
            ipv6: false,
            tls: None,
        };
        let mut in_reply = false;
        for (index, line) in text.split('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            let at = |problem: String| ParseError { line: index + 1, problem };
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(header) = line.strip_prefix('@') {
                if !transcript.steps.is_empty() {
                    return Err(at("a header behind the first step".into()));
                }
                transcript.header(header).map_err(at)?;
                continue;
            }
            let step = step(line).map_err(at)?;
            let inner = matches!(&step, Step::Body(_));
            match (in_reply, inner) {
                (false, true) => return Err(at("this step belongs between `S: CODE-` and `S. CODE`".into())),
                (true, false) => return Err(at("the reply begun by `S: CODE-` must end with `S. CODE` first".into())),
                (false, false) | (true, true) => {}
            }
            let begins = matches!(&step, Step::ReplyBegins { .. });
            let ends = matches!(&step, Step::Body(OfBody::Ends { .. }));
            in_reply = (in_reply || begins) && !ends;
            transcript.steps.push(Line { number: index + 1, text: line.into(), step });
        }
        if in_reply {
            let line = transcript.steps.last().map_or(1, |line| line.number);
            return Err(ParseError { line, problem: "the reply begun by `S: CODE-` never ends with `S. CODE`".into() });
        }
        Ok(transcript)
    }

    fn header(&mut self, header: &str) -> Result<(), String> {
        let (name, value) = header.split_once(' ').unwrap_or((header, ""));
        match (name, value.trim()) {
            ("rfc", value) => self.rfc = value.into(),
            ("needs", value) => self.needs.extend(value.split_whitespace().map(ToString::to_string)),
            ("config", value) => self.settings.push(Setting::parse(value)?),
            ("fault", value) => self.faults.push(Fault::parse(value)?),
            ("proto", "ipv4") => self.ipv6 = false,
            ("proto", "ipv6") => self.ipv6 = true,
            ("tls", "unavailable") => self.tls = Some(Tls::Unavailable),
            ("tls", "explicit") => self.tls = Some(Tls::Explicit),
            ("tls", "implicit") => self.tls = Some(Tls::Implicit),
            (name, value) => return Err(format!("`@{name} {value}` is no header")),
        }
        Ok(())
    }

    /// The sections of standards that it shows (`@rfc`).
    #[must_use]
    pub fn rfc(&self) -> &str {
        &self.rfc
    }

    /// What the server must have (`@needs`), tag by tag.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        self.needs.iter().map(String::as_str)
    }

    /// Whether the control connection is to be IPv6 (`@proto ipv6`).
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.ipv6
    }

    /// How many steps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no step.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

fn step(line: &str) -> Result<Step, String> {
    let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
    let octets = || Template::parse(rest, Syntax::Octets);
    let glob = || Template::parse(rest, Syntax::Glob);
    let expression = || Expression::parse(rest);
    let number = || rest.parse().map_err(|_| format!("`{rest}` is no number"));
    let bare = |step: Step| if rest.is_empty() { Ok(step) } else { Err(format!("nothing may follow `{head}`")) };
    match head {
        "C:" => Ok(Step::Send { octets: Template::parse(rest, Syntax::Text)?, line_end: true, urgent: false }),
        "C!" => Ok(Step::Send { octets: octets()?, line_end: false, urgent: false }),
        "C^" => Ok(Step::Send { octets: octets()?, line_end: false, urgent: true }),
        "C." => bare(Step::HangUp),
        "C-" => bare(Step::Lose),
        "S:" | "S1:" | "S." => reply(head, rest),
        "S+" => Ok(Step::Body(OfBody::Has(glob()?))),
        "S-" => Ok(Step::Body(OfBody::Lacks(glob()?))),
        "S|" => Ok(Step::Body(OfBody::Continues(glob()?))),
        "S~" => Ok(Step::ReplyMatches(expression()?)),
        "S!" => Ok(Step::Octets(octets()?)),
        "S0" => bare(Step::Silence),
        "D:" => setup(rest),
        "D+" if rest.is_empty() => Ok(Step::Connect { from: None }),
        "D+" => match rest.parse() {
            Ok(from) => Ok(Step::Connect { from: Some(from) }),
            Err(_) => Err(format!("`{rest}` is no IP address")),
        },
        "D>" => Ok(Step::DataSend(octets()?)),
        "D>." => bare(Step::DataEnd),
        "D-" => bare(Step::DataDrop),
        "D<" => Ok(Step::DataLines(OfLines::Next(glob()?))),
        "D<+" => Ok(Step::DataLines(OfLines::Has(glob()?))),
        "D<~" => Ok(Step::DataLines(OfLines::HasMatch(expression()?))),
        "D<!" => Ok(Step::DataLines(OfLines::Lacks(glob()?))),
        "D<." => bare(Step::DataLines(OfLines::End)),
        "D<=" => Ok(Step::Data(OfData::Is(octets()?))),
        "D</" => Ok(Step::Data(OfData::Matches(expression()?))),
        "D<#" => Ok(Step::Data(OfData::Count(number()?))),
        "D<?" => Ok(Step::DataAtLeast(number()?)),
        "D>z" => Ok(Step::DataSendPacked(octets()?)),
        "D<z" => Ok(Step::Data(OfData::IsPacked(octets()?))),
        "D<b" => Ok(Step::Unplayable("MODE B")),
        "D~" => bare(Step::DataClosed),
        "T:" => match rest {
            "control" => Ok(Step::Handshake { name: None, or_end: false }),
            "control-or-end" => Ok(Step::Handshake { name: None, or_end: true }),
            "data" => Ok(Step::DataHandshake),
            "close" => Ok(Step::EndTls),
            _ => match rest.split_once(' ') {
                Some(("control", name)) => Ok(Step::Handshake { name: Some(name.into()), or_end: false }),
                _ => Err(format!("`{rest}` is none of control, control-or-end, data, close")),
            },
        },
        "W:" if rest == "close" => Ok(Step::WaitClose),
        "W:" => {
            let seconds = rest.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            seconds.map(Step::Wait).ok_or_else(|| format!("`{rest}` is neither a number of seconds nor `close`"))
        }
        "X:" => match rest {
            "shutdown" => Ok(Step::Stop { at_once: true }),
            "drain" => Ok(Step::Stop { at_once: false }),
            _ => Err(format!("`{rest}` is neither shutdown nor drain")),
        },
        _ => Err(format!("`{head}` begins no step and no header")),
    }
}

/// The steps `S:`, `S1:` and `S.`.
fn reply(head: &str, rest: &str) -> Result<Step, String> {
    let (codes, text) = match rest.split_once(' ') {
        Some((codes, text)) => (codes, Some(Template::parse(text, Syntax::Glob)?)),
        None => (rest, None),
    };
    match (head, codes.strip_suffix('-')) {
        ("S:", Some(codes)) => Ok(Step::ReplyBegins { codes: Codes::parse(codes)?, text }),
        ("S.", None) => Ok(Step::Body(OfBody::Ends { codes: Codes::parse(codes)?, text })),
        _ => Ok(Step::Reply { codes: Codes::parse(codes)?, text, single: head == "S1:" }),
    }
}

fn setup(command: &str) -> Result<Step, String> {
    let verb = command.split(' ').next().unwrap_or_default();
    match verb {
        "EPSV" | "PASV" => Ok(Step::SetUp(Setup::Passive(command.into()))),
        "PORT" if command == verb => Ok(Step::SetUp(Setup::Port)),
        "EPRT" if command == verb => Ok(Step::SetUp(Setup::Eprt)),
        "LPRT" if command == verb => Ok(Step::Unplayable("LPRT")),
        _ => Err(format!("`{command}` is none of EPSV, PASV, PORT, EPRT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> (usize, String) {
        let error = Transcript::parse(text).unwrap_err();
        (error.line, error.problem)
    }

    #[test]
    fn headers_and_numbers_of_lines() {
        let text = "# comment\n\n@rfc 959 4.1\n@needs TLS REIN\n@proto ipv6\r\nS: 220\n\nC: QUIT\n";
        let transcript = Transcript::parse(text).unwrap();
        assert_eq!(transcript.rfc(), "959 4.1");
        assert!(transcript.needs().eq(["TLS", "REIN"]));
        assert!(transcript.is_ipv6() && !transcript.is_empty());
        let numbers: Vec<_> = transcript.steps.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [6, 8]);
    }

    #[test]
    fn every_mistake_names_its_line() {
        for (text, line) in [
            ("S: 220\n@rfc 959\n", 2),
            ("@colour red\n", 1),
            ("@config nonsense=1\n", 1),
            ("@config timeout\n", 1),
            ("@fault sometimes\n", 1),
            ("S: 2200\n", 1),
            ("S~ (\n", 1),
            ("S+ outside\n", 1),
            ("S: 211-\nC: NOOP\n", 2),
            ("S: 211-\nS+ x\n", 2),
            ("S1: 211-\n", 1),
            ("C! \\q\n", 1),
            ("C. now\n", 1),
            ("D: RETR x\n", 1),
            ("D: PORT 1,2,3,4,5,6\n", 1),
            ("D+ nowhere\n", 1),
            ("D<# many\n", 1),
            ("D. \n", 1),
            ("T: maybe\n", 1),
            ("W: -1\n", 1),
            ("W: soon\n", 1),
            ("X: ray\n", 1),
        ] {
            assert_eq!(problem(text).0, line, "{text:?}");
        }
    }

    #[test]
    fn trailing_spaces_belong_to_a_command() {
        let transcript = Transcript::parse("C: MKD a \nC: \n").unwrap();
        let sent = |index: usize| {
            let step = &transcript.steps[index].step;
            let Step::Send { octets, line_end: true, urgent: false } = step else { panic!("{step:?}") };
            octets.octets(&Default::default()).unwrap()
        };
        assert_eq!(sent(0), b"MKD a ");
        assert_eq!(sent(1), b"");
    }
}
