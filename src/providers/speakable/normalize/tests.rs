//! One row per rule and exception: text, and the words a listener would write down. Letters of initialisms stand
//! alone; `,` and `.` are pauses.

use super::*;

/// The words and pauses; sentence marks at the very end are left out.
fn said(text: &str) -> String {
    let mut out = String::new();
    for spoken in normalize(text) {
        match spoken.kind {
            Kind::Pause => out.push_str(&spoken.text),
            Kind::Word | Kind::Run => {
                out.push(' ');
                out.push_str(&spoken.text.to_lowercase());
            }
            Kind::Letters => {
                for c in spoken.text.chars().filter(|c| c.is_alphabetic()) {
                    out.push(' ');
                    out.extend(c.to_lowercase());
                }
            }
        }
    }
    out.trim().trim_end_matches(['.', '?', '!']).to_owned()
}

#[track_caller]
fn check(rows: &[(&str, &str)]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter(|(text, expected)| said(text) != *expected)
        .map(|(text, expected)| format!("{text:?}\n   expected {expected:?}\n   said     {:?}", said(text)))
        .collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    for (text, _) in rows {
        assert!(!said(text).contains(|c: char| c.is_ascii_digit()), "a digit is left of {text:?}");
    }
}

#[test]
fn times_of_day() {
    check(&[
        ("9:30", "nine thirty"),
        ("at 9:00.", "at nine o'clock"),
        ("at 9:00 o'clock", "at nine o'clock"),
        ("9:05", "nine oh five"),
        ("2 pm", "two p m"),
        ("2pm", "two p m"),
        ("2:15 p.m.", "two fifteen p m"),
        ("10 AM", "ten a m"),
        ("9:30 am", "nine thirty a m"),
        ("9.30am", "nine thirty a m"),
        ("14:00", "two p m"),
        ("17:45", "five forty five p m"),
        ("09:30", "nine thirty a m"),
        ("00:15", "twelve fifteen a m"),
        ("12:00", "twelve noon"),
        ("12:00 noon", "twelve noon"),
        ("00:00", "midnight"),
        ("12:30", "twelve thirty"),
        ("9am–5pm", "nine a m to five p m"),
        ("9am-5pm", "nine a m to five p m"),
        ("9-5pm", "nine to five p m"),
        ("9:00-17:00", "nine a m to five p m"),
        ("09:00 - 17:30", "nine a m to five thirty p m"),
        ("8:30–11:30", "eight thirty to eleven thirty"),
        ("9am to 5pm", "nine a m to five p m"),
        ("10:15:30", "ten fifteen and thirty seconds"),
        ("at 5 p.m. Please come.", "at five p m. please come"),
        ("at 9 a.m. Monday", "at nine a m monday"),
        ("9 a.m. and 10 a.m.", "nine a m and ten a m"),
        ("25:00", "twenty five: zero zero"),
    ]);
}

#[test]
fn dates_months_and_weekdays() {
    check(&[
        ("2026-11-24", "november twenty fourth, twenty twenty six"),
        ("2026-11-24T14:30:00Z", "november twenty fourth, twenty twenty six at two thirty p m"),
        ("Nov 24", "november twenty fourth"),
        ("Nov. 24th", "november twenty fourth"),
        ("November 24, 2026", "november twenty fourth, twenty twenty six"),
        ("Tuesday, Nov 24 at 9:30", "tuesday, november twenty fourth at nine thirty"),
        ("24/11/2026", "november twenty fourth, twenty twenty six"),
        ("11/24/2026", "november twenty fourth, twenty twenty six"),
        ("11/24/26", "november twenty fourth, twenty twenty six"),
        ("03/04/1985", "march fourth, nineteen eighty five"),
        ("24.11.2026", "november twenty fourth, twenty twenty six"),
        ("on 11/24", "on november twenty fourth"),
        ("24 November", "the twenty fourth of november"),
        ("the 24th of Nov.", "the twenty fourth of november"),
        ("1st of May 2027", "the first of may, twenty twenty seven"),
        ("Nov 24-26", "november twenty fourth to twenty sixth"),
        ("in Sept 2026", "in september twenty twenty six"),
        ("in November. Please", "in november. please"),
        ("Mon-Fri", "monday to friday"),
        ("Mon–Fri 9am–5pm", "monday to friday nine a m to five p m"),
        ("Monday-Thursday", "monday to thursday"),
        ("Tues. and Thurs.", "tuesday and thursday"),
        ("Sat. 10–2", "saturday ten to two"),
        ("closed Sun.", "closed sunday"),
        ("Sat, Dec 5", "saturday, december fifth"),
        ("The cat sat.", "the cat sat"),
        ("Jan called", "jan called"),
        ("You may call", "you may call"),
        ("in 1999", "in nineteen ninety nine"),
        ("in 2005", "in two thousand five"),
        ("the 1990s", "the nineteen nineties"),
        ("in her 20s", "in her twenties"),
        ("2024-2026", "twenty twenty four to twenty twenty six"),
        ("13/13/2026", "thirteen slash thirteen slash two thousand twenty six"),
    ]);
}

#[test]
fn money_and_percentages() {
    check(&[
        ("$95", "ninety five dollars"),
        ("$95.50", "ninety five dollars and fifty cents"),
        ("$95.00", "ninety five dollars"),
        ("$1", "one dollar"),
        ("$0.50", "fifty cents"),
        ("$1.01", "one dollar and one cent"),
        ("£20", "twenty pounds"),
        ("£20.50", "twenty pounds and fifty pence"),
        ("€10", "ten euros"),
        ("€1", "one euro"),
        ("95 dollars", "ninety five dollars"),
        ("95 USD", "ninety five dollars"),
        ("10 €", "ten euros"),
        ("$1,250", "one thousand two hundred fifty dollars"),
        ("$3.2 million", "three point two million dollars"),
        ("$5k", "five thousand dollars"),
        ("$95-$120", "ninety five to one hundred twenty dollars"),
        ("$95–120", "ninety five to one hundred twenty dollars"),
        ("$2.50-$3.75", "two dollars and fifty cents to three dollars and seventy five cents"),
        ("$50/hour", "fifty dollars per hour"),
        ("-$5", "minus five dollars"),
        ("50¢", "fifty cents"),
        ("¥500", "five hundred yen"),
        ("20%", "twenty percent"),
        ("12.5%", "twelve point five percent"),
        ("10-20%", "ten to twenty percent"),
        ("10 %", "ten percent"),
        ("That's $95.", "that's ninety five dollars"),
    ]);
}

#[test]
fn numbers_fractions_and_ranges() {
    check(&[
        ("0", "zero"),
        ("7 people", "seven people"),
        ("105", "one hundred five"),
        ("1,234", "one thousand two hundred thirty four"),
        ("2500 patients", "two thousand five hundred patients"),
        ("150000", "one hundred fifty thousand"),
        ("3.14", "three point one four"),
        ("0.5", "zero point five"),
        (".5", "zero point five"),
        ("-5 degrees", "minus five degrees"),
        ("−5", "minus five"),
        ("1st", "first"),
        ("22nd", "twenty second"),
        ("3rd floor", "third floor"),
        ("100th", "one hundredth"),
        ("1/2", "one half"),
        ("3/4", "three quarters"),
        ("2/3", "two thirds"),
        ("2 1/2", "two and a half"),
        ("2½ hours", "two and a half hours"),
        ("½", "one half"),
        ("5-10", "five to ten"),
        ("10 – 15", "ten to fifteen"),
        ("24/7", "twenty four seven"),
        ("120/80", "one twenty over eighty"),
        ("30/60", "thirty slash sixty"),
        ("2x daily", "two times daily"),
        ("ages 5+", "ages five plus"),
        ("a 25-year-old", "a twenty five year old"),
        ("5 to 10 days", "five to ten days"),
    ]);
}

#[test]
fn telephone_numbers_and_identifiers() {
    check(&[
        ("555 0134", "five five five, zero one three four"),
        ("555-0134", "five five five, zero one three four"),
        ("+1 (555) 010-0199", "plus one, five five five, zero one zero, zero one nine nine"),
        ("(555) 010-0199", "five five five, zero one zero, zero one nine nine"),
        ("555-010-0199", "five five five, zero one zero, zero one nine nine"),
        ("555.010.0199", "five five five, zero one zero, zero one nine nine"),
        ("5550100199", "five five five, zero one zero, zero one nine nine"),
        ("1-800-555-0199", "one, eight zero zero, five five five, zero one nine nine"),
        ("+44 20 7946 0958", "plus four four, two zero, seven nine four six, zero nine five eight"),
        ("020 7946 0958", "zero two zero, seven nine four six, zero nine five eight"),
        ("+15550100199", "plus one, five five five, zero one zero, zero one nine nine"),
        ("555-0134 ext. 204", "five five five, zero one three four, extension two zero four"),
        ("555-0134 x12", "five five five, zero one three four, extension one two"),
        ("extension 204", "extension two zero four"),
        ("Your code is 4521.", "your code is four five two one"),
        ("confirmation number 482913", "confirmation number four eight two, nine one three"),
        ("account 12-3456", "account one two, three four five six"),
        ("PIN 0042", "pin zero zero four two"),
        ("room 204", "room two oh four"),
        ("Suite 1250", "suite twelve fifty"),
        ("suite 300", "suite three hundred"),
        ("room 12", "room twelve"),
        ("007", "zero zero seven"),
        ("12345678", "one two three four, five six seven eight"),
        ("ZIP code 78701", "zip code seven eight seven zero one"),
        ("Austin, TX 78701", "austin, texas seven eight seven zero one"),
        ("Portland, OR 97201-1234.", "portland, oregon nine seven two zero one, one two three four"),
        ("1420 Main Street", "fourteen twenty main street"),
        ("204 Oak Ave.", "two oh four oak avenue"),
        ("version 2.10.3", "version two point ten point three"),
        ("12-3456", "one two, three four five six"),
        ("call 911", "call nine one one"),
        ("call 200 patients", "call two hundred patients"),
        ("reference number 730 945", "reference number seven three zero, nine four five"),
        ("Your code is 4521. 24 hours", "your code is four five two one. twenty four hours"),
        ("order 12 boxes", "order twelve boxes"),
        ("order 48291", "order four eight two nine one"),
        ("number 5", "number five"),
        ("the number ending in 0134", "the number ending in zero one three four"),
    ]);
}

#[test]
fn measures() {
    check(&[
        ("15 min", "fifteen minutes"),
        ("15 min. walk", "fifteen minutes walk"),
        ("1 min", "one minute"),
        ("10-15 min", "ten to fifteen minutes"),
        ("500 mg", "five hundred milligrams"),
        ("500mg", "five hundred milligrams"),
        ("5 mg/day", "five milligrams per day"),
        ("3 km", "three kilometers"),
        ("1 km", "one kilometer"),
        ("60 km/h", "sixty kilometers per hour"),
        ("5'", "five"),
        ("5 ft", "five feet"),
        ("150 lbs", "one hundred fifty pounds"),
        ("37.5°C", "thirty seven point five degrees celsius"),
        ("98.6 °F", "ninety eight point six degrees fahrenheit"),
        ("a 90° turn", "a ninety degrees turn"),
        ("24 hrs", "twenty four hours"),
        ("2 h", "two hours"),
        ("250 ml", "two hundred fifty milliliters"),
        ("20 m²", "twenty square meters"),
        ("72 bpm", "seventy two beats per minute"),
        ("2 GB", "two gigabytes"),
    ]);
}

#[test]
fn titles_and_abbreviations() {
    check(&[
        ("Dr. Lee", "doctor lee"),
        ("Dr Lee", "doctor lee"),
        ("Mr. Smith and Mrs. Jones", "mister smith and misses jones"),
        ("Ms. Park", "miz park"),
        ("on Friday with Dr. Patel", "on friday with doctor patel"),
        ("12 Elm Dr. Call us.", "twelve elm drive. call us"),
        ("42nd St. is near", "forty second street is near"),
        ("Please ask Dr. Patel", "please ask doctor patel"),
        ("I told Anna Dr. Patel is in", "i told anna doctor patel is in"),
        ("St. Mary's Hospital", "saint mary's hospital"),
        ("12 Oak St. Call us.", "twelve oak street. call us"),
        ("on Elm Dr. near", "on elm drive near"),
        ("the corner of Main St and Park Ave", "the corner of main street and park avenue"),
        ("Lakeview Blvd.", "lakeview boulevard"),
        ("No. 5", "number five"),
        ("No. That is wrong.", "no. that is wrong"),
        ("e.g. Monday", "for example, monday"),
        ("i.e. tomorrow", "that is, tomorrow"),
        ("teeth, gums, etc.", "teeth, gums, et cetera"),
        ("approx. 20 min", "approximately twenty minutes"),
        ("Smith vs. Jones", "smith versus jones"),
        ("John Smith Jr.", "john smith junior"),
        ("your appt. is", "your appointment is"),
        ("ASAP", "as soon as possible"),
        ("J. Smith", "j smith"),
        ("J. K. Rowling", "j k rowling"),
        ("the U.S. office", "the u s office"),
        ("Ph.D.", "p h d"),
        ("Smith Inc. is", "smith incorporated is"),
        ("that is the max.", "that is the max"),
        ("OK, great", "okay, great"),
        ("w/o insurance", "without insurance"),
    ]);
}

#[test]
fn initialisms_codes_and_capitals() {
    check(&[
        ("SMS", "s m s"),
        ("your ID", "your i d"),
        ("IDs", "i d s"),
        ("an X-ray", "an x-ray"),
        ("3CX", "three c x"),
        ("an MRI scan", "an m r i scan"),
        ("a CT scan", "a c t scan"),
        ("the IT department", "the i t department"),
        ("COVID-19", "covid nineteen"),
        ("HIPAA", "hipaa"),
        ("vitamin B12", "vitamin b twelve"),
        ("A1C", "a one c"),
        ("order AB-1234", "order a b one two three four"),
        ("code X7K9Q2", "code x seven k nine q two"),
        ("PLEASE CALL US NOW", "please call us now"),
        ("in the US today", "in the u s today"),
        ("COPD", "c o p d"),
        ("the NHS", "the n h s"),
        ("PBX's", "p b x s"),
        ("MP3", "m p three"),
        ("H2O", "h two o"),
        ("10 AM EST", "ten a m e s t"),
        ("JSON", "json"),
    ]);
}

#[test]
fn addresses_and_symbols() {
    check(&[
        ("anna.lee@example.com", "anna dot lee at example dot com"),
        ("info@my-clinic.org.", "info at my dash clinic dot org"),
        ("j_smith42@example.co.uk", "j underscore smith four two at example dot c o dot u k"),
        ("www.example.com", "example dot com"),
        ("https://example.com/book", "example dot com slash book"),
        ("Visit example.org.", "visit example dot org"),
        ("A & B", "a and b"),
        ("fish&chips", "fish and chips"),
        ("and/or", "and or or"),
        ("#5", "number five"),
        ("press #", "press pound"),
        ("press * or #", "press star or pound"),
        ("press *9", "press star nine"),
        ("2 + 2 = 4", "two plus two equals four"),
        ("~20 minutes", "about twenty minutes"),
        ("**bold** text", "bold text"),
        ("Brand™ name", "brand name"),
        ("wait... what", "wait… what"),
        ("one - two", "one— two"),
        ("one—two", "one— two"),
        ("She said \"hello\" twice.", "she said“ hello” twice"),
        ("(see below)", "( see below)"),
        ("- first\n- second", "first. second"),
        ("Open Monday\nTuesday\nand Friday", "open monday, tuesday and friday"),
        ("Really?! Yes!!", "really! yes"),
        ("😀 hello", "hello"),
        ("", ""),
        ("   ", ""),
        ("...", ""),
    ]);
}

#[test]
fn names_keep_their_apostrophes_hyphens_and_accents() {
    check(&[
        ("O'Brien", "o'brien"),
        ("O’Brien", "o’brien"),
        ("D'Angelo-Smith", "d'angelo-smith"),
        ("José Núñez", "josé núñez"),
        ("the nurses' station", "the nurses station"),
        ("don't", "don't"),
        ("'til 5", "'til five"),
    ]);
}

#[test]
fn letters_and_pauses_are_marked_as_such() {
    let kinds: Vec<(Kind, String)> = normalize("Send an SMS, OK?").into_iter().map(|s| (s.kind, s.text)).collect();
    let expected = [
        (Kind::Word, "Send"),
        (Kind::Word, "an"),
        (Kind::Letters, "SMS"),
        (Kind::Pause, ","),
        (Kind::Word, "okay"),
        (Kind::Pause, "?"),
    ];
    assert_eq!(kinds, expected.map(|(k, t)| (k, t.to_owned())));
}

#[test]
fn every_spoken_word_knows_where_its_source_ends() {
    let text = "At 9:30 am, call +1 (555) 010-0199. Bye!";
    let ends: Vec<&str> = normalize(text)
        .iter()
        .filter(|s| s.kind != Kind::Pause)
        .map(|s| text[..s.text_end].rsplit_once(' ').map_or(&text[..s.text_end], |(_, w)| w))
        .collect();
    assert_eq!(ends.first(), Some(&"At"));
    assert_eq!(&ends[1..4], ["am", "am", "am"]);
    assert!(ends.contains(&"010-0199") && ends.last() == Some(&"Bye"));
    let spoken = normalize(text);
    assert!(spoken.windows(2).all(|w| w[0].text_end <= w[1].text_end));
}

#[test]
fn sentences_end_at_full_stops_that_are_no_abbreviations() {
    for (text, count) in [
        ("Hello. How are you? Fine!", 3),
        ("Dr. Lee is in. She sees you at 3.30 p.m. today.", 2),
        ("It costs $9.50. Is that OK?", 2),
        ("We open at 9 a.m. Please come early.", 2),
        ("We open at 9 a.m. Monday.", 1),
        ("Oak St. is closed. Use Elm Ave. instead.", 2),
        ("He said \"Stop.\" Then he left.", 2),
        ("Well... maybe. ok then.", 1),
        ("Call 555-0134. 24 November is free.", 2),
        ("one\n\ntwo\n- three\n- four", 4),
        ("Please call\nDr. Lee\ntomorrow.", 1),
        ("", 0),
        ("?!", 0),
    ] {
        let found = sentences(text, normalize(text));
        assert_eq!(found.len(), count, "{text:?}: {found:?}");
    }
}

#[test]
fn hyphens_and_dashes_of_several_octets_stand_anywhere() {
    check(&[
        ("AB‑negative", "ab-negative"),
        ("AA‑", "aa"),
        ("the FBI’s car", "the f b i s car"),
        ("5-10–15", "five, one zero— fifteen"),
    ]);
}

#[test]
fn words_for_comparison_have_no_case_digits_or_punctuation() {
    assert_eq!(
        words("It's 9:30 AM — call Dr. O'Brien-Lee."),
        ["it's", "nine", "thirty", "a", "m", "call", "doctor", "o'brien", "lee"]
    );
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_normaliser(text in "\\PC{0,80}") {
        let spoken = normalize(&text);
        for s in &spoken {
            proptest::prop_assert!(text.is_char_boundary(s.text_end));
            proptest::prop_assert!(!s.text.contains(|c: char| c.is_ascii_digit()));
        }
        proptest::prop_assert!(spoken.windows(2).all(|w| w[0].text_end <= w[1].text_end));
        let count: usize = sentences(&text, spoken.clone()).iter().map(Vec::len).sum();
        proptest::prop_assert!(count <= spoken.len());
    }

    #[test]
    fn no_string_of_digits_and_signs_breaks_the_normaliser(text in "[0-9a-dp$£€%#*+(),./:;'– -]{0,24}") {
        let spoken = normalize(&text);
        proptest::prop_assert!(spoken.iter().all(|s| !s.text.contains(|c: char| c.is_ascii_digit())));
    }
}
