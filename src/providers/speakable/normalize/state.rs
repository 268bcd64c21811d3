//! States before a ZIP code: "Austin, TX 78701". Alone, two capitals are left to the other rules ("OR", "ME", "OK").

use super::{Reading, Scan, numbers, pattern};
use regex::Regex;
use std::sync::LazyLock;

static ZIP: LazyLock<Regex> = LazyLock::new(|| pattern(r"^([A-Z]{2})\s(\d{5})(?:-(\d{4}))?"));

/// The abbreviations of the United States Postal Service.
const STATES: &[(&str, &str)] = &[
    ("AK", "Alaska"),
    ("AL", "Alabama"),
    ("AR", "Arkansas"),
    ("AZ", "Arizona"),
    ("CA", "California"),
    ("CO", "Colorado"),
    ("CT", "Connecticut"),
    ("DC", "D C"),
    ("DE", "Delaware"),
    ("FL", "Florida"),
    ("GA", "Georgia"),
    ("HI", "Hawaii"),
    ("IA", "Iowa"),
    ("ID", "Idaho"),
    ("IL", "Illinois"),
    ("IN", "Indiana"),
    ("KS", "Kansas"),
    ("KY", "Kentucky"),
    ("LA", "Louisiana"),
    ("MA", "Massachusetts"),
    ("MD", "Maryland"),
    ("ME", "Maine"),
    ("MI", "Michigan"),
    ("MN", "Minnesota"),
    ("MO", "Missouri"),
    ("MS", "Mississippi"),
    ("MT", "Montana"),
    ("NC", "North Carolina"),
    ("ND", "North Dakota"),
    ("NE", "Nebraska"),
    ("NH", "New Hampshire"),
    ("NJ", "New Jersey"),
    ("NM", "New Mexico"),
    ("NV", "Nevada"),
    ("NY", "New York"),
    ("OH", "Ohio"),
    ("OK", "Oklahoma"),
    ("OR", "Oregon"),
    ("PA", "Pennsylvania"),
    ("RI", "Rhode Island"),
    ("SC", "South Carolina"),
    ("SD", "South Dakota"),
    ("TN", "Tennessee"),
    ("TX", "Texas"),
    ("UT", "Utah"),
    ("VA", "Virginia"),
    ("VT", "Vermont"),
    ("WA", "Washington"),
    ("WI", "Wisconsin"),
    ("WV", "West Virginia"),
    ("WY", "Wyoming"),
];

/// A state and its ZIP code.
pub(super) fn zip(scan: &Scan<'_>) -> Option<Reading> {
    let found = scan.find(&ZIP)?;
    let (_, name) = STATES.iter().find(|(short, _)| found.get(1).is_some_and(|m| m.as_str() == *short))?;
    let reading = Reading::new(found.get_match().end()).say(name).say(&numbers::digits(found.get(2)?.as_str()));
    Some(match found.get(3) {
        Some(rest) => reading.say(",").say(&numbers::digits(rest.as_str())),
        None => reading,
    })
}
