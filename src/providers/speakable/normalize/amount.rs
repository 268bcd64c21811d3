//! Quantities: money, percentages, measures, fractions, ordinals, ranges and plain numbers.

use super::numbers::{self, is_one, quantity};
use super::{Reading, Scan, pattern};
use regex::Regex;
use std::sync::LazyLock;

const NUM: &str = r"(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)";
const SCALE: &str = r"(?:\s?(thousand|million|billion|trillion|bn|[kKmMbB])\b)?";

static MONEY: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r"^([-−]?)(?:US|CA|C|A)?([$£€¥])\s?{NUM}{SCALE}(?:\s?[-–—]\s?[$£€¥]?\s?{NUM}{SCALE})?(?:\s?(?:USD|EUR|GBP|CAD|AUD)\b)?"
    ))
});
static MONEY_CODE: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!(r"^(?:(USD|EUR|GBP)\s?{NUM}{SCALE}|{NUM}{SCALE}\s?(USD|EUR|GBP|€|£|¢)|()())")));
static RANGE: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!(r"^{NUM}\s?(?:-|–|—|to)\s?{NUM}(?:\s?(%|[A-Za-zµ°²/]+|\b))?")));
static MEASURE: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!(r"^([-−+]?){NUM}\s?(%|°\s?[CF]?|(?:sq ft|km/h|m/s|[A-Za-zµ²³]+))")));
static PRESSURE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(\d{2,3})/(\d{2,3})"));
static MIXED: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(\d+)\s(\d{1,2})/(\d{1,2})"));
static FRACTION: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(\d{1,4})/(\d{1,4})"));
static VULGAR: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(\d*)\s?([½¼¾⅓⅔⅛⅜⅝⅞])"));
static ORDINAL: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th|ST|ND|RD|TH)"));
static DECADE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^['’]?(\d{1,4})['’]?s"));
static HOUSE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(\d{3,4})\s(?:[NSEW]\.?\s|North\s|South\s|East\s|West\s)?(?:[A-Z][\w'.]*\s|\d+(?:st|nd|rd|th)\s){1,3}(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Way|Court|Ct|Place|Pl|Parkway|Pkwy|Highway|Hwy|Square|Terrace|Circle)\b",
    )
});
static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(&format!(r"^([-−+±]?){NUM}")));

/// Short numbers to call, after one of [`CALLING`].
const EMERGENCY: &[u64] = &[101, 111, 112, 211, 311, 411, 811, 911, 988, 999];
const CALLING: &[&str] = &["call", "dial", "calling", "text", "phone", "ring"];

/// Abbreviated units: written, one, several. Written-out units need no rule.
const UNITS: &[(&str, &str, &str)] = &[
    ("km", "kilometer", "kilometers"),
    ("m", "meter", "meters"),
    ("cm", "centimeter", "centimeters"),
    ("mm", "millimeter", "millimeters"),
    ("mi", "mile", "miles"),
    ("ft", "foot", "feet"),
    ("yd", "yard", "yards"),
    ("kg", "kilogram", "kilograms"),
    ("g", "gram", "grams"),
    ("mg", "milligram", "milligrams"),
    ("mcg", "microgram", "micrograms"),
    ("µg", "microgram", "micrograms"),
    ("lb", "pound", "pounds"),
    ("lbs", "pound", "pounds"),
    ("oz", "ounce", "ounces"),
    ("l", "liter", "liters"),
    ("L", "liter", "liters"),
    ("ml", "milliliter", "milliliters"),
    ("mL", "milliliter", "milliliters"),
    ("cc", "C C", "C C"),
    ("h", "hour", "hours"),
    ("hr", "hour", "hours"),
    ("hrs", "hour", "hours"),
    ("min", "minute", "minutes"),
    ("mins", "minute", "minutes"),
    ("sec", "second", "seconds"),
    ("secs", "second", "seconds"),
    ("s", "second", "seconds"),
    ("ms", "millisecond", "milliseconds"),
    ("wk", "week", "weeks"),
    ("wks", "week", "weeks"),
    ("yr", "year", "years"),
    ("yrs", "year", "years"),
    ("mo", "month", "months"),
    ("mos", "month", "months"),
    ("mph", "mile per hour", "miles per hour"),
    ("kph", "kilometer per hour", "kilometers per hour"),
    ("km/h", "kilometer per hour", "kilometers per hour"),
    ("m/s", "meter per second", "meters per second"),
    ("Hz", "hertz", "hertz"),
    ("kHz", "kilohertz", "kilohertz"),
    ("MHz", "megahertz", "megahertz"),
    ("GHz", "gigahertz", "gigahertz"),
    ("KB", "kilobyte", "kilobytes"),
    ("kB", "kilobyte", "kilobytes"),
    ("MB", "megabyte", "megabytes"),
    ("GB", "gigabyte", "gigabytes"),
    ("TB", "terabyte", "terabytes"),
    ("Mbps", "megabit per second", "megabits per second"),
    ("kWh", "kilowatt hour", "kilowatt hours"),
    ("kW", "kilowatt", "kilowatts"),
    ("W", "watt", "watts"),
    ("V", "volt", "volts"),
    ("sq ft", "square foot", "square feet"),
    ("m²", "square meter", "square meters"),
    ("km²", "square kilometer", "square kilometers"),
    ("m³", "cubic meter", "cubic meters"),
    ("pct", "percent", "percent"),
    ("bpm", "beat per minute", "beats per minute"),
    ("mmHg", "millimeter of mercury", "millimeters of mercury"),
    ("kcal", "kilocalorie", "kilocalories"),
    ("IU", "international unit", "international units"),
    ("x", "time", "times"),
];

fn unit(written: &str, one: bool) -> Option<&'static str> {
    if written == "%" {
        return Some("percent");
    }
    if let Some(scale) = written.strip_prefix('°') {
        return Some(match (scale.trim_start(), one) {
            ("C", true) => "degree Celsius",
            ("C", false) => "degrees Celsius",
            ("F", true) => "degree Fahrenheit",
            ("F", false) => "degrees Fahrenheit",
            (_, true) => "degree",
            (_, false) => "degrees",
        });
    }
    UNITS.iter().find(|(w, ..)| *w == written).map(|(_, single, plural)| if one { *single } else { *plural })
}

/// "per" after a price or measure: "$50/hour", "5 mg/day".
fn per(scan: &Scan<'_>, reading: Reading) -> Reading {
    let rest = &scan.rest()[reading.len..];
    let Some(what) = rest.strip_prefix('/').filter(|r| r.starts_with(char::is_alphabetic)) else { return reading };
    let letters = what.find(|c: char| !c.is_alphabetic()).unwrap_or(what.len());
    let word = unit(&what[..letters], true).unwrap_or(&what[..letters]);
    let len = reading.len + 1 + letters;
    Reading { len, ..reading.say("per").say(word) }
}

fn minus(sign: &str) -> &'static str {
    match sign {
        "-" | "−" => "minus",
        "+" => "plus",
        "±" => "plus or minus",
        _ => "",
    }
}

/// Whether a hyphen here can be a minus: at the start or after a space or bracket.
fn may_be_sign(scan: &Scan<'_>) -> bool {
    scan.before().is_none_or(|c| c.is_whitespace() || "(=<>".contains(c))
}

fn scale_word(written: &str) -> &str {
    match written {
        "k" | "K" => "thousand",
        "m" | "M" => "million",
        "b" | "B" | "bn" => "billion",
        word => word,
    }
}

/// The words of an amount of money.
fn amount_of(currency: &str, number: &str, scale: Option<&str>) -> Option<String> {
    let (one, many, cent, cents) = match currency {
        "$" | "USD" => ("dollar", "dollars", "cent", "cents"),
        "£" | "GBP" => ("pound", "pounds", "penny", "pence"),
        "€" | "EUR" => ("euro", "euros", "cent", "cents"),
        "¥" => ("yen", "yen", "", ""),
        _ => ("cent", "cents", "", ""),
    };
    if let Some(scale) = scale {
        return Some(format!("{} {} {many}", quantity(number)?, scale_word(scale)));
    }
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.len() > 2 || (!part.is_empty() && cents.is_empty()) {
        return Some(format!("{} {many}", quantity(number)?));
    }
    let major = quantity(if whole.is_empty() { "0" } else { whole })?;
    let minor: u64 = format!("{part:0<2}").parse().ok()?;
    let major = format!("{major} {}", if is_one(whole) { one } else { many });
    let minor_words = format!("{} {}", numbers::cardinal(minor), if minor == 1 { cent } else { cents });
    Some(match (whole.trim_matches('0').is_empty(), minor) {
        (_, 0) => major,
        (true, _) => minor_words,
        (false, _) => format!("{major} and {minor_words}"),
    })
}

/// "$95", "£20.50", "$95-$120", "€3.2 million", "95 USD", "$50/hour".
pub(super) fn money(scan: &Scan<'_>) -> Option<Reading> {
    if let Some(found) = scan.find(&MONEY) {
        let text = |i: usize| found.get(i).map(|m| m.as_str());
        let sign = text(1).unwrap_or_default();
        if !sign.is_empty() && !may_be_sign(scan) {
            return None;
        }
        let (currency, first, scale) = (text(2)?, text(3)?, text(4));
        let reading = Reading::new(found.get_match().end()).say(minus(sign));
        let reading = match text(5) {
            Some(second) if !first.contains('.') && !second.contains('.') => {
                let scale = if scale.is_some() { scale } else { text(6) };
                let lower = format!("{} {}", quantity(first)?, text(4).map_or("", scale_word));
                reading.say(&lower).say("to").say(&amount_of(currency, second, scale)?)
            }
            Some(second) => {
                reading.say(&amount_of(currency, first, scale)?).say("to").say(&amount_of(currency, second, text(6))?)
            }
            None => reading.say(&amount_of(currency, first, scale)?),
        };
        return Some(per(scan, reading));
    }
    let found = scan.find(&MONEY_CODE)?;
    let text = |i: usize| found.get(i).map(|m| m.as_str());
    let (currency, number, scale) = match (text(1), text(6)) {
        (Some(code), _) => (code, text(2)?, text(3)),
        (_, Some(code)) => (code, text(4)?, text(5)),
        _ => return None,
    };
    Some(per(scan, Reading::new(found.get_match().end()).say(&amount_of(currency, number, scale)?)))
}

/// "120/80": only values that blood pressures take.
pub(super) fn blood_pressure(scan: &Scan<'_>) -> Option<Reading> {
    let found = scan.find(&PRESSURE)?;
    let number = |i: usize| found.get(i).and_then(|m| m.as_str().parse::<u64>().ok());
    let (high, low) = (number(1)?, number(2)?);
    if !(70..=250).contains(&high) || !(40..=150).contains(&low) || low >= high {
        return None;
    }
    let say = |n: u64| if n > 100 { numbers::in_pairs(n) } else { numbers::cardinal(n) };
    Some(Reading::new(found.get_match().end()).say(&say(high)).say("over").say(&say(low)))
}

/// "5-10", "10–15 min", "10-20%". A unit counts for both ends.
pub(super) fn range(scan: &Scan<'_>) -> Option<Reading> {
    if !scan.starts_with_digit() {
        return None;
    }
    let found = RANGE.captures(scan.rest())?;
    let (first, second) = (found.get(1)?, found.get(2)?);
    let joined = &scan.rest()[first.end()..second.start()];
    let known = found.get(3).and_then(|m| unit(m.as_str(), false).map(|u| (m.end(), u)));
    let end = known.map_or_else(|| second.end(), |(end, _)| end);
    let after = &scan.rest()[end..];
    let goes_on =
        after.strip_prefix(['-', '–', '/']).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if !scan.ends_token(end) || goes_on || after.starts_with(':') || (joined.trim() == "to" && known.is_none()) {
        return None;
    }
    let year = |t: &str| t.len() == 4 && t.parse().is_ok_and(|n: u64| (1900..2100).contains(&n));
    let (low, high) = (first.as_str(), second.as_str());
    let reading = Reading::new(end);
    let years = known.is_none() && year(low) && (year(high) || high.len() == 2);
    let number = |t: &str| match t.parse() {
        Ok(n) if years && t.len() == 4 => Some(numbers::year(n)),
        _ => quantity(t),
    };
    // "555-0134" and codes with leading zeros are no ranges; nor is "12-3".
    let value = |t: &str| t.replace(',', "").parse::<f64>().unwrap_or(0.0);
    let padded = |t: &str| t.len() > 1 && t.starts_with('0') && !t.starts_with("0.");
    // "9-5" are hours; otherwise what goes down is no range.
    let hours = known.is_none() && [low, high].iter().all(|t| t.parse().is_ok_and(|n: u8| (1..=12).contains(&n)));
    let down = value(low) >= value(high) && !years && !hours;
    let unlike = known.is_none() && !high.contains(',') && high.len() > low.len() + 1;
    if padded(low) || padded(high) || down || unlike {
        return None;
    }
    let reading = reading.say(&number(low)?).say("to").say(&number(high)?);
    Some(match known {
        Some((_, unit)) => per(scan, reading.say(unit)),
        None => reading,
    })
}

fn parts(count: u64, of: u64) -> Option<String> {
    let name = match (of, count) {
        (2, 1) => "half".to_owned(),
        (2, _) => "halves".to_owned(),
        (4, 1) => "quarter".to_owned(),
        (4, _) => "quarters".to_owned(),
        (3 | 5..=20 | 100, 1) => numbers::ordinal(of),
        (3 | 5..=20 | 100, _) => format!("{}s", numbers::ordinal(of)),
        _ => return None,
    };
    Some(format!("{} {name}", numbers::cardinal(count)))
}

/// "2 1/2", "2½".
pub(super) fn mixed_fraction(scan: &Scan<'_>) -> Option<Reading> {
    if let Some(found) = VULGAR.captures(scan.rest()) {
        let (count, of) = match found.get(2)?.as_str() {
            "½" => (1, 2),
            "¼" => (1, 4),
            "¾" => (3, 4),
            "⅓" => (1, 3),
            "⅔" => (2, 3),
            "⅛" => (1, 8),
            "⅜" => (3, 8),
            "⅝" => (5, 8),
            _ => (7, 8),
        };
        return mixed(found.get_match().end(), found.get(1)?.as_str(), count, of);
    }
    if !scan.starts_with_digit() {
        return None;
    }
    let found = scan.find(&MIXED)?;
    let number = |i: usize| found.get(i).and_then(|m| m.as_str().parse::<u64>().ok());
    let (count, of) = (number(2)?, number(3)?);
    if count >= of || scan.rest()[found.get_match().end()..].starts_with('/') {
        return None;
    }
    mixed(found.get_match().end(), found.get(1)?.as_str(), count, of)
}

fn mixed(len: usize, whole: &str, count: u64, of: u64) -> Option<Reading> {
    let part = parts(count, of)?;
    let reading = Reading::new(len);
    if whole.is_empty() || whole == "0" {
        return Some(reading.say(&part));
    }
    let part = match part.strip_prefix("one ") {
        Some(name) => format!("a {name}"),
        None => part,
    };
    Some(reading.say(&quantity(whole)?).say("and").say(&part))
}

/// "1/2" is a half, "24/7" is said as it stands, "11/24" is a date without a year, "30/60" has a slash.
pub(super) fn fraction(scan: &Scan<'_>) -> Option<Reading> {
    if !scan.starts_with_digit() {
        return None;
    }
    let found = scan.find(&FRACTION)?;
    let number = |i: usize| found.get(i).and_then(|m| m.as_str().parse::<u64>().ok());
    let (count, of) = (number(1)?, number(2)?);
    let reading = Reading::new(found.get_match().end());
    if scan.rest()[reading.len..].starts_with('/') {
        return None;
    }
    if (count, of) == (24, 7) {
        return Some(reading.say("twenty four seven"));
    }
    if count > 0 && count < of && (of <= 10 || of == 100) {
        return Some(reading.say(&parts(count, of)?));
    }
    if (1..=12).contains(&count) && (11..=31).contains(&of) {
        let date = format!("{count}/{of}/2000");
        let date = Scan { text: &date, at: 0, out: Vec::new(), joined: true };
        let mut pieces = super::date::numeric(&date)?.pieces;
        pieces.truncate(pieces.iter().position(|(kind, _)| *kind == super::Kind::Pause).unwrap_or(pieces.len()));
        return Some(Reading { pieces, ..reading });
    }
    Some(reading.say(&numbers::cardinal(count)).say("slash").say(&numbers::cardinal(of)))
}

/// "15 min", "500mg", "37.5°C", "20%".
pub(super) fn measure(scan: &Scan<'_>) -> Option<Reading> {
    let found = MEASURE.captures(scan.rest())?;
    let (sign, number, written) = (found.get(1)?.as_str(), found.get(2)?, found.get(3)?);
    if !sign.is_empty() && !may_be_sign(scan) {
        return None;
    }
    let spaced = number.end() < written.start();
    let name = unit(written.as_str(), is_one(number.as_str()))?;
    let end = written.end();
    // "5 s" and "3 m" are seconds and meters, but "the 90 s" and "5 x 3" are too rare to guess.
    if spaced && matches!(written.as_str(), "s" | "x" | "l" | "W" | "V") || !scan.ends_token(end) {
        return None;
    }
    // "1990s", "20s" are decades.
    if written.as_str() == "s" {
        return None;
    }
    let dotted = scan.rest()[end..].starts_with('.')
        && matches!(
            written.as_str(),
            "min" | "mins" | "hr" | "hrs" | "sec" | "secs" | "lb" | "lbs" | "oz" | "ft" | "yr" | "yrs"
        )
        && scan.rest()[end + 1..].starts_with(|c: char| c.is_whitespace() || c == ',');
    let reading = Reading::new(end + usize::from(dotted))
        .say(minus(sign))
        .say(&quantity(number.as_str())?)
        .say(name)
        .dotted(dotted);
    Some(per(scan, reading))
}

/// "24th".
pub(super) fn ordinal(scan: &Scan<'_>) -> Option<Reading> {
    let found = scan.find(&ORDINAL)?;
    let n = found.get(1)?.as_str().replace(',', "").parse().ok()?;
    Some(Reading::new(found.get_match().end()).say(&numbers::ordinal(n)))
}

/// "1990s", "20s", "the '80s".
pub(super) fn decade(scan: &Scan<'_>) -> Option<Reading> {
    let found = scan.find(&DECADE)?;
    let written = found.get(1)?.as_str();
    let n: u64 = written.parse().ok()?;
    let words = if written.len() == 4 { numbers::year(n) } else { numbers::cardinal(n) };
    Some(Reading::new(found.get_match().end()).say(&numbers::plural(&words)))
}

/// "1420 Main Street", "204 Oak Ave": a house number is read in pairs.
pub(super) fn house_number(scan: &Scan<'_>) -> Option<Reading> {
    let number = HOUSE.captures(scan.rest())?.get(1)?.as_str();
    Some(Reading::new(number.len()).say(&numbers::in_pairs(number.parse().ok()?)))
}

/// Any number that is left: signed, with decimals, with commas, a year, or too long for a quantity.
pub(super) fn number(scan: &Scan<'_>) -> Option<Reading> {
    let found = scan.find(&NUMBER)?;
    let (sign, written) = (found.get(1)?.as_str(), found.get(2)?.as_str());
    if !sign.is_empty() && !may_be_sign(scan) {
        return None;
    }
    let reading = Reading::new(found.get_match().end()).say(minus(sign));
    let plain = written.bytes().all(|b| b.is_ascii_digit());
    let value: Option<u64> = written.parse().ok().filter(|_| plain);
    let words = match value {
        Some(n @ (1100..=2099)) if written.len() == 4 => numbers::year(n),
        Some(n) if EMERGENCY.contains(&n) && scan.said().next().is_some_and(|w| CALLING.contains(&w.as_str())) => {
            numbers::digits(written)
        }
        Some(n) if written.len() <= 6 && (n % 100 == 0 || written.len() <= 4) && !written.starts_with('0') => {
            numbers::cardinal(n)
        }
        Some(0) if written == "0" => numbers::cardinal(0),
        _ if plain => return Some(super::phone::grouped(reading, written)),
        _ => quantity(written)?,
    };
    Some(reading.say(&words))
}
