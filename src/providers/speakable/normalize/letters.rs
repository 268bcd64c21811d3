//! Words, abbreviations, initialisms, and codes of letters and digits.

use super::{Kind, Reading, Scan, numbers, pattern, phone};
use regex::Regex;
use std::sync::LazyLock;

static WORD: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^['’](?:em|til|cause|bout|tis|twas|n)\b|^[\p{L}\p{M}]+(?:['’][\p{L}\p{M}]+)*(?:[-‐‑][\p{L}\p{M}]+(?:['’][\p{L}\p{M}]+)*)*",
    )
});
static CODE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[\p{L}\d]+(?:-[\p{L}\d]+)*"));
static DOTTED: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(?:\p{L}\.\s?){2,}|^\p{L}\.\p{L}\b"));
static INITIAL: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(\p{Lu})\.\s\p{Lu}\p{Ll}"));
static CAPITALS: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(\p{Lu}{2,})(['’]?s)?"));

/// Before a name. The second column is what is said.
const TITLES: &[(&str, &str)] = &[
    ("Mr", "Mister"),
    ("Mrs", "Misses"),
    ("Ms", "Miz"),
    ("Mx", "Mix"),
    ("Dr", "Doctor"),
    ("Prof", "Professor"),
    ("St", "Saint"),
    ("Mt", "Mount"),
    ("Ft", "Fort"),
    ("Gen", "General"),
    ("Gov", "Governor"),
    ("Sen", "Senator"),
    ("Rep", "Representative"),
    ("Capt", "Captain"),
    ("Lt", "Lieutenant"),
    ("Col", "Colonel"),
    ("Sgt", "Sergeant"),
    ("Rev", "Reverend"),
    ("Hon", "Honorable"),
    ("Fr", "Father"),
];

/// With a dot, anywhere. Those in the second list also without.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("Jr", "Junior"),
    ("Sr", "Senior"),
    ("St", "Street"),
    ("Dr", "Drive"),
    ("Ave", "Avenue"),
    ("Blvd", "Boulevard"),
    ("Rd", "Road"),
    ("Ln", "Lane"),
    ("Ct", "Court"),
    ("Pl", "Place"),
    ("Sq", "Square"),
    ("Hwy", "Highway"),
    ("Pkwy", "Parkway"),
    ("Ste", "Suite"),
    ("Apt", "Apartment"),
    ("Bldg", "Building"),
    ("Fl", "Floor"),
    ("Ltd", "Limited"),
    ("Inc", "Incorporated"),
    ("Corp", "Corporation"),
    ("Co", "Company"),
    ("Bros", "Brothers"),
    ("Dept", "Department"),
    ("Univ", "University"),
    ("Assn", "Association"),
    ("Govt", "Government"),
    ("approx", "approximately"),
    ("appt", "appointment"),
    ("appts", "appointments"),
    ("apt", "apartment"),
    ("est", "estimated"),
    ("vs", "versus"),
    ("vol", "volume"),
    ("Vol", "Volume"),
    ("fig", "figure"),
    ("Fig", "Figure"),
    ("ch", "chapter"),
    ("pp", "pages"),
    ("ext", "extension"),
    ("Ext", "extension"),
    ("tel", "telephone"),
    ("Tel", "telephone"),
    ("max", "maximum"),
    ("min", "minimum"),
    ("misc", "miscellaneous"),
    ("incl", "including"),
    ("excl", "excluding"),
    ("etc", "et cetera"),
    ("cf", "compare"),
    ("ref", "reference"),
    ("Ref", "reference"),
    ("temp", "temperature"),
    ("hr", "hour"),
    ("hrs", "hours"),
    ("mins", "minutes"),
    ("wk", "week"),
    ("yr", "year"),
    ("yrs", "years"),
    ("Esq", "Esquire"),
    ("Nos", "numbers"),
];
/// The dot of these never ends a sentence: something always follows.
const UNFINISHED: &[&str] = &[
    "vs", "approx", "cf", "incl", "excl", "ext", "Ext", "ref", "Ref", "tel", "Tel", "vol", "Vol", "fig", "Fig", "ch",
    "pp", "Ste", "Apt", "Nos",
];
/// Safe to expand without a dot.
const BARE: &[(&str, &str)] = &[
    ("vs", "versus"),
    ("etc", "et cetera"),
    ("approx", "approximately"),
    ("appt", "appointment"),
    ("appts", "appointments"),
    ("ext", "extension"),
    ("Blvd", "Boulevard"),
    ("Ave", "Avenue"),
    ("Rd", "Road"),
    ("Hwy", "Highway"),
    ("Pkwy", "Parkway"),
    ("Apt", "Apartment"),
    ("Dept", "Department"),
    ("hrs", "hours"),
    ("mins", "minutes"),
    ("yrs", "years"),
    ("aka", "also known as"),
    ("asap", "as soon as possible"),
    ("ASAP", "as soon as possible"),
    ("FYI", "for your information"),
    ("TBD", "to be determined"),
    ("w/o", "without"),
    ("w/", "with "),
    ("Jr", "Junior"),
    ("Sr", "Senior"),
    ("vax", "vaccine"),
    ("Rx", "prescription"),
    ("PharmD", "doctor of pharmacy"),
    ("PhD", "P H D"),
    ("MyChart", "my chart"),
    ("e.g.", "for example,"),
    ("eg", "for example,"),
    ("i.e.", "that is,"),
    ("ie", "that is,"),
    ("OK", "okay"),
    ("Ok", "okay"),
    ("ok", "okay"),
    ("a.k.a.", "also known as"),
    ("p.s.", "P S"),
    ("hrs.", "hours"),
    ("wifi", "why fye"),
    ("WiFi", "why fye"),
    ("Wi-Fi", "why fye"),
    ("iOS", "eye O S"),
    ("PCR", "P C R"),
];

/// Capitals that are said letter by letter although a word of the same spelling exists.
const LETTERED: &[&str] = &[
    "ID", "IT", "US", "UK", "EU", "AM", "PM", "OR", "ER", "IV", "AC", "PA", "MA", "ED", "PE", "PT", "OT", "HR", "AI",
    "TV", "PC", "IP", "MS", "MD", "DO", "DOB", "GP", "RN", "LPN", "NP", "CT", "MRI", "COPD", "EKG", "ECG", "EEG",
    "EMG", "ENT", "ICU", "NICU", "OB", "GYN", "HMO", "PPO", "HSA", "FSA", "SMS", "MMS", "SIP", "URL", "PDF", "FAQ",
    "CEO", "CFO", "CTO", "CCU", "BP", "BMI", "STD", "STI", "UTI", "HIV", "HPV", "TB", "ADHD", "PTSD", "OCD", "IBS",
    "COD", "VIP", "ATM", "DMV", "EST", "CST", "MST", "PST", "EDT", "CDT", "MDT", "PDT", "UTC", "GMT", "BST", "CET",
    "PBX", "FBI", "CIA", "LLC", "USD", "VPN", "USB", "DNA", "ACL", "RSV", "MMR", "TDAP", "NYC", "LA", "DC", "CPR",
    "EMT", "ETA", "BYO", "DIY", "API", "SSN", "PO", "QR",
];
/// Of these the ones that are words when everything around them is in capitals.
const AMBIGUOUS: &[&str] = &["IT", "US", "OR", "DO", "AM", "MA", "PA", "ED"];
/// Capitals that are said as a word.
const ACRONYMS: &[&str] = &[
    "NASA", "NATO", "COVID", "PIN", "SIM", "AIDS", "SARS", "MERS", "HIPAA", "COBRA", "LASIK", "CPAP", "NSAID", "FEMA",
    "OSHA", "IKEA", "GIF", "RAM", "ZIP", "SWAT", "UNICEF", "CHIP", "CAT", "PET", "SOAP", "BIPAP",
];

fn table(table: &'static [(&'static str, &'static str)], key: &str) -> Option<&'static str> {
    table.iter().find(|(k, _)| *k == key).map(|(_, said)| *said)
}

/// Says `words`, in which single capital letters are letters.
fn saying(len: usize, words: &str) -> Reading {
    words.split_whitespace().fold(Reading::new(len), |reading, word| {
        if word.len() == 1 && word != "a" { reading.letters(word) } else { reading.say(word) }
    })
}

static HOUSE: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b\d+\s(?:\p{Lu}\w*\s){1,3}$"));
static NUMBERED: LazyLock<Regex> = LazyLock::new(|| pattern(r"\d(?:st|nd|rd|th)\s$"));

/// Whether a street can be named by what was just said: a capitalised word that does not begin its sentence, or a
/// number like "42nd".
fn follows_name(scan: &Scan<'_>) -> bool {
    let mut back = scan.out.iter().rev();
    let (Some(last), before) = (back.next(), back.next()) else { return false };
    let capital = last.kind == Kind::Word && last.text.starts_with(char::is_uppercase);
    let mid_sentence = before.is_some_and(|b| !".!?…".contains(&b.text));
    (capital && mid_sentence) || NUMBERED.is_match(&scan.text[..scan.at])
}

/// "Dr. Lee", "St Paul": a title before a capitalised word.
pub(super) fn title(scan: &Scan<'_>) -> Option<Reading> {
    let word = WORD.find(scan.rest())?.as_str();
    let said = table(TITLES, word)?;
    let dot = scan.rest()[word.len()..].starts_with('.');
    let len = word.len() + usize::from(dot);
    let name = scan.after(len).starts_with(char::is_uppercase) && len < scan.rest().len();
    // "Oak St. Call us", "Elm Dr": after a name it is the street.
    let street = match word {
        "St" | "Ct" => follows_name(scan),
        "Dr" => HOUSE.is_match(&scan.text[..scan.at]),
        _ => false,
    };
    let certain = dot || matches!(word, "Mr" | "Mrs" | "Ms" | "Dr" | "Prof" | "St" | "Mt" | "Ft");
    (name && certain && !street).then(|| Reading::new(len).say(said))
}

/// "Ave.", "approx.", "e.g.", "No. 5".
pub(super) fn abbreviation(scan: &Scan<'_>) -> Option<Reading> {
    let rest = scan.rest();
    if rest.starts_with("No.") && scan.after(3).starts_with(|c: char| c.is_ascii_digit() || c == '#') {
        return Some(Reading::new(3).say("number"));
    }
    let bare = BARE.iter().filter(|(k, _)| rest.starts_with(k)).max_by_key(|(k, _)| k.len());
    if let Some((key, said)) = bare
        && (!key.ends_with(char::is_alphabetic)
            || !rest[key.len()..].starts_with(|c: char| c.is_alphanumeric() || "'’-".contains(c)))
    {
        let dot = !key.ends_with('.') && rest[key.len()..].starts_with('.') && table(ABBREVIATIONS, key).is_some();
        return Some(saying(key.len() + usize::from(dot), said).dotted(dot && !UNFINISHED.contains(key)));
    }
    let word = WORD.find(rest)?.as_str();
    if !rest[word.len()..].starts_with('.') {
        return matches!(word, "St" | "Dr" | "Ct" | "Ln" | "Pl")
            .then(|| table(ABBREVIATIONS, word))
            .flatten()
            .filter(|_| follows_name(scan))
            .map(|said| Reading::new(word.len()).say(said));
    }
    let said = table(ABBREVIATIONS, word)?;
    let ordinary = matches!(word, "max" | "min" | "fig" | "temp" | "est" | "ref" | "ch" | "Pl" | "Co" | "Fl");
    // "the max." at the end of a sentence is a word with its full stop.
    let goes_on = scan.after(word.len() + 1).starts_with(|c: char| c.is_ascii_digit() || c.is_lowercase() || c == ',');
    let name = follows_name(scan) && word.starts_with(char::is_uppercase);
    (!ordinary || goes_on || name).then(|| Reading::new(word.len() + 1).say(said).dotted(!UNFINISHED.contains(&word)))
}

/// "U.S.", "Ph.D.", "J. K.", and the initial in "J. Smith".
pub(super) fn dotted(scan: &Scan<'_>) -> Option<Reading> {
    if scan.rest().starts_with("Ph.D") {
        let len = if scan.rest().starts_with("Ph.D.") { 5 } else { 4 };
        return Some(Reading::new(len).letters("PHD").dotted(len == 5));
    }
    if let Some(found) = DOTTED.find(scan.rest()) {
        let text = found.as_str().trim_end();
        let letters: String = text.chars().filter(|c| c.is_alphabetic()).collect();
        // "J. K. Rowling", "J.R. Lee comes": initials of a name, not the end of a sentence.
        let initials = text.contains(' ') || scan.out.last().is_none_or(|s| s.kind == Kind::Pause);
        let dotted = text.ends_with('.') && !initials;
        return scan
            .ends_token(text.len())
            .then(|| Reading::new(text.len()).letters(&letters.to_uppercase()).dotted(dotted));
    }
    let letter = INITIAL.captures(scan.rest())?.get(1)?.as_str();
    // "Vitamin C. Take one" and "am I. Then" end a sentence; an initial starts a name.
    let name = scan.out.last().is_none_or(|s| s.text.starts_with(char::is_uppercase) || s.kind == Kind::Pause);
    (name && letter != "I").then(|| Reading::new(letter.len() + 1).letters(letter))
}

/// "SMS", "IDs", "PBX's". Capitals that may be a shouted word are left to the dictionary.
pub(super) fn initialism(scan: &Scan<'_>) -> Option<Reading> {
    let found = scan.find(&CAPITALS)?;
    let (letters, ending) = (found.get(1)?.as_str(), found.get(2).map(|m| m.as_str()));
    let len = found.get_match().end();
    let goes_on = scan.rest()[len..].strip_prefix(['-', '‑', '\'', '’']);
    if goes_on.is_some_and(|rest| rest.starts_with(char::is_alphabetic)) {
        return None;
    }
    if ACRONYMS.contains(&letters) {
        return Some(Reading::new(len).say(&format!("{}{}", letters.to_lowercase(), ending.unwrap_or_default())));
    }
    let capitals = |text: &str| text.chars().take(2).filter(|c| c.is_uppercase()).count() == 2;
    let last = scan.out.last().filter(|s| s.kind == Kind::Word && capitals(&s.text));
    if AMBIGUOUS.contains(&letters) && (last.is_some() || capitals(scan.rest()[len..].trim_start())) {
        return Some(Reading::new(len).say(&letters.to_lowercase()));
    }
    let vowelless = !letters.chars().any(|c| "AEIOUY".contains(c)) && letters.chars().count() <= 5;
    let spelled = match ending {
        Some(_) => format!("{letters}'s"),
        None => letters.to_owned(),
    };
    (vowelless || LETTERED.contains(&letters)).then(|| Reading::new(len).letters(&spelled))
}

/// A code of letters and digits: "B12", "A1C", "3CX", "COVID-19", "AB-1234".
pub(super) fn code(scan: &Scan<'_>) -> Option<Reading> {
    let found = scan.find(&CODE)?;
    let text = found.get_match().as_str();
    let digits = text.chars().any(|c| c.is_ascii_digit());
    (digits && text.chars().any(char::is_alphabetic)).then(|| mixed(text))
}

/// Letters and digits in turn: runs of letters that can be a word are one, short runs of digits are a number.
pub(super) fn mixed(text: &str) -> Reading {
    let class = |c: char| if c.is_alphabetic() { 1 } else { u8::from(c.is_ascii_digit()) * 2 };
    let mut runs: Vec<(u8, String)> = Vec::new();
    for c in text.chars() {
        match runs.last_mut() {
            Some((last, run)) if *last == class(c) => run.push(c),
            _ => runs.push((class(c), c.into())),
        }
    }
    let digits: usize = text.chars().filter(char::is_ascii_digit).count();
    let turns = runs.iter().filter(|(class, _)| *class > 0).count();
    let mut reading = Reading::new(text.len());
    for (class, run) in runs {
        match class {
            1 => {
                let vowel = run.chars().any(|c| "aeiouyAEIOUY".contains(c));
                let lower = run.to_lowercase();
                if run.chars().count() > 2 && vowel && (run != run.to_uppercase() || ACRONYMS.contains(&run.as_str())) {
                    reading.pieces.push((Kind::Word, lower));
                } else {
                    for letter in run.chars() {
                        reading.pieces.push((Kind::Letters, letter.to_uppercase().to_string()));
                    }
                }
            }
            2 => match run.parse() {
                Ok(n) if run.len() <= 2 && turns <= 3 && digits <= 3 && !run.starts_with('0') => {
                    reading = reading.say(&numbers::cardinal(n));
                }
                _ => reading.pieces.extend(phone::spelled(&run)),
            },
            _ => {}
        }
    }
    reading
}

/// Any other word, with its apostrophes and hyphens.
pub(super) fn word(scan: &Scan<'_>) -> Option<Reading> {
    let found = WORD.find(scan.rest())?.as_str();
    let text = found.replace(['‐', '‑'], "-");
    Some(Reading { len: found.len(), pieces: vec![(Kind::Word, text)], dotted: false })
}
