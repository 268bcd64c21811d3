//! Number words, American style ("one hundred twenty five", without "and").

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [&str; 7] = ["", " thousand", " million", " billion", " trillion", " quadrillion", " quintillion"];

/// "one thousand two hundred thirty four".
#[must_use]
pub fn cardinal(n: u64) -> String {
    if n == 0 {
        return ONES[0].to_owned();
    }
    let mut groups = Vec::new();
    let (mut rest, mut scale) = (n, 0);
    while rest > 0 {
        if rest % 1000 > 0 {
            groups.push(format!("{}{}", below_1000(rest % 1000), SCALES[scale]));
        }
        rest /= 1000;
        scale += 1;
    }
    groups.reverse();
    groups.join(" ")
}

fn below_1000(n: u64) -> String {
    let hundreds = n / 100;
    let rest = n % 100;
    let small = match rest {
        0 => String::new(),
        1..20 => ONES[rest as usize].to_owned(),
        _ if rest.is_multiple_of(10) => TENS[(rest / 10) as usize].to_owned(),
        _ => format!("{} {}", TENS[(rest / 10) as usize], ONES[(rest % 10) as usize]),
    };
    match (hundreds, small.is_empty()) {
        (0, _) => small,
        (h, true) => format!("{} hundred", ONES[h as usize]),
        (h, false) => format!("{} hundred {small}", ONES[h as usize]),
    }
}

/// "twenty fourth", "one hundredth".
#[must_use]
pub fn ordinal(n: u64) -> String {
    let words = cardinal(n);
    let (head, last) = words.rsplit_once(' ').map_or(("", words.as_str()), |(h, l)| (h, l));
    let last = match last {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        w => w.strip_suffix('y').map_or_else(|| format!("{w}th"), |stem| format!("{stem}ieth")),
    };
    if head.is_empty() { last } else { format!("{head} {last}") }
}

/// A year: "twenty twenty six", "two thousand five", "nineteen oh five", "nineteen hundred".
#[must_use]
pub fn year(n: u64) -> String {
    let (century, rest) = (n / 100, n % 100);
    if !(11..=99).contains(&century) || (century % 10 == 0 && rest < 10) {
        return cardinal(n);
    }
    format!("{} {}", cardinal(century), below_a_century(rest))
}

fn below_a_century(rest: u64) -> String {
    match rest {
        0 => "hundred".to_owned(),
        1..10 => format!("oh {}", cardinal(rest)),
        _ => cardinal(rest),
    }
}

/// A room, house or flight number, as people say it: "two oh four", "twelve fifty", "three hundred". Other lengths
/// than three and four digits are cardinals.
#[must_use]
pub fn in_pairs(n: u64) -> String {
    match n {
        100..=9999 if n.is_multiple_of(1000) => cardinal(n),
        100..=9999 => format!("{} {}", cardinal(n / 100), below_a_century(n % 100)),
        _ => cardinal(n),
    }
}

/// Each digit by its name; other characters are left out. "zero", not "oh": unmistakable on a telephone.
#[must_use]
pub fn digits(text: &str) -> String {
    let names: Vec<&str> =
        text.chars().filter_map(|c| c.to_digit(10)).filter_map(|d| ONES.get(d as usize).copied()).collect();
    names.join(" ")
}

/// Whether `word` is the name of a digit.
#[must_use]
pub fn is_digit(word: &str) -> bool {
    ONES.iter().take(10).any(|name| *name == word)
}

/// A number as written: thousands commas are dropped, decimals are read digit by digit ("three point one four").
/// `None` when it is too long to be a quantity.
#[must_use]
pub fn quantity(text: &str) -> Option<String> {
    let plain = text.replace(',', "");
    let (whole, fraction) = plain.split_once('.').map_or((plain.as_str(), None), |(w, f)| (w, Some(f)));
    let whole = if whole.is_empty() { "zero".to_owned() } else { cardinal(whole.parse().ok()?) };
    Some(match fraction {
        Some(f) if !f.is_empty() => format!("{whole} point {}", digits(f)),
        _ => whole,
    })
}

/// Whether a quantity takes the singular: "1 minute".
#[must_use]
pub fn is_one(text: &str) -> bool {
    text.trim_start_matches('-') == "1"
}

/// The plural of a number word: "twenties".
#[must_use]
pub fn plural(word: &str) -> String {
    let (head, last) = word.rsplit_once(' ').map_or((String::new(), word), |(h, l)| (format!("{h} "), l));
    match (last.strip_suffix('y'), last) {
        (Some(stem), _) => format!("{head}{stem}ies"),
        (_, "six") => format!("{head}sixes"),
        _ => format!("{head}{last}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_each_of_their_ways() {
        for (n, c, o) in [
            (0, "zero", "zeroth"),
            (12, "twelve", "twelfth"),
            (20, "twenty", "twentieth"),
            (21, "twenty one", "twenty first"),
            (105, "one hundred five", "one hundred fifth"),
            (1_000, "one thousand", "one thousandth"),
            (1_234_567, "one million two hundred thirty four thousand five hundred sixty seven", ""),
        ] {
            assert_eq!(cardinal(n), c);
            assert!(o.is_empty() || ordinal(n) == o, "{}", ordinal(n));
        }
        for (n, y, p) in [
            (2026, "twenty twenty six", "twenty twenty six"),
            (2005, "two thousand five", "twenty oh five"),
            (1905, "nineteen oh five", "nineteen oh five"),
            (1900, "nineteen hundred", "nineteen hundred"),
            (2000, "two thousand", "two thousand"),
            (204, "two hundred four", "two oh four"),
            (300, "three hundred", "three hundred"),
            (7, "seven", "seven"),
        ] {
            assert_eq!(year(n), y);
            assert_eq!(in_pairs(n), p);
        }
    }

    #[test]
    fn the_greatest_number_has_words_and_a_longer_one_is_no_quantity() {
        assert!(cardinal(u64::MAX).starts_with("eighteen quintillion"));
        assert_eq!(quantity("99999999999999999999999"), None);
        assert_eq!(quantity("1,250.05").as_deref(), Some("one thousand two hundred fifty point zero five"));
    }
}
