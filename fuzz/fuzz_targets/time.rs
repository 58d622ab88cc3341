//! Moments and the words for them are one to one, and a time-val means what its digits say or is refused.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wharf::proto::time::{Civil, UnixTime};

fuzz_target!(|data: &[u8]| {
    let Some((numbers, text)) = data.split_first_chunk::<14>() else { return };
    let (wide, narrow) = numbers.split_at(8);
    let wide = i64::from_le_bytes(wide.try_into().expect("8 octets"));
    moment(UnixTime::new(wide, 0));
    if let [month, day, hour, minute, second, zoom] = *narrow {
        // Most years of an i64 are too far off.
        words(Civil { year: wide >> (zoom & 63), month, day, hour, minute, second });
    }
    time_val(text);
});

fn moment(time: UnixTime) {
    let civil = time.to_civil();
    assert!((1..=12).contains(&civil.month) && (1..=31).contains(&civil.day));
    assert!(civil.hour < 24 && civil.minute < 60 && civil.second < 60);
    assert_eq!(UnixTime::from_civil(civil), Some(time));
    let shown = time.time_val().to_string();
    let shown_time = if (1000..=9999).contains(&civil.year) { time } else { UnixTime::EPOCH };
    assert_eq!(UnixTime::parse(shown.as_bytes()), Ok(shown_time));
}

fn words(civil: Civil) {
    match UnixTime::from_civil(civil) {
        Some(time) => assert_eq!(time.to_civil(), civil),
        None => {
            let common = (1..=12).contains(&civil.month) && (1..=28).contains(&civil.day);
            let clock = civil.hour < 24 && civil.minute < 60 && civil.second < 60;
            assert!(!(common && clock) || civil.year.unsigned_abs() > 292_277_000_000);
        }
    }
}

fn time_val(text: &[u8]) {
    let Ok(time) = UnixTime::parse(text) else { return };
    let text = str::from_utf8(text).expect("digits");
    let (digits, fraction) = text.split_once('.').map_or((text, None), |(digits, fraction)| (digits, Some(fraction)));
    assert!(digits.len() == 14 && digits.bytes().all(|octet| octet.is_ascii_digit()));
    assert!(fraction.is_none_or(|fraction| !fraction.is_empty() && fraction.bytes().all(|octet| octet.is_ascii_digit())));
    match digits.strip_suffix("60") {
        Some(minute) => {
            let before = UnixTime::parse(format!("{minute}59").as_bytes()).expect("the second before");
            assert_eq!(time.seconds(), before.seconds() + 1);
        }
        None => assert_eq!(time.time_val().to_string(), digits),
    }
    let nanoseconds = format!("{:0<9}", fraction.unwrap_or_default());
    assert_eq!(nanoseconds[..9].parse(), Ok(time.nanoseconds()));
}
