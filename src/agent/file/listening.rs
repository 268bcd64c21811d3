//! `listening:`, what is done to the caller's audio before it is listened to.

use super::reader::{Fields, Reader};
use crate::agent::listening::Listening;

const KEYS: &[&str] = &["echo_guard", "gain_control", "noise_suppression"];

pub(super) fn read_listening(reader: &mut Reader, root: &Fields<'_>) -> Listening {
    let Some(fields) = root.get("listening").and_then(|section| reader.fields(section, "`listening`", KEYS)) else {
        return Listening::default();
    };
    let mut is_on = |name: &str| fields.get(name).and_then(|node| reader.truth(node)).unwrap_or(false);
    Listening {
        echo_guard: is_on("echo_guard"),
        gain_control: is_on("gain_control"),
        noise_suppression: is_on("noise_suppression"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::file::check;

    const START: &str = "agent: a\nbridge: {url: \"wss://bot.example/x\", protocol: lean}\n";

    fn listening(section: &str) -> Result<Listening, String> {
        let checked = check("a.yaml", &format!("{START}{section}"), &[]);
        let errors: Vec<_> =
            checked.report.errors().map(|d| format!("{}:{} {}", d.at.line, d.at.column, d.message)).collect();
        checked.agent.map(|agent| agent.listening).ok_or_else(|| errors.join("; "))
    }

    #[test]
    fn everything_is_off_unless_it_is_asked_for() {
        assert_eq!(listening(""), Ok(Listening::default()));
        assert!(!Listening::default().is_on());
        let some = listening("listening: {echo_guard: true, gain_control: true}\n").unwrap();
        assert!(some.echo_guard && some.gain_control && !some.noise_suppression && some.is_on());
    }

    #[test]
    fn an_unknown_key_and_a_value_that_is_no_truth_are_errors() {
        for (section, at) in
            [("listening: {echo_gard: true}\n", "3:13 "), ("listening: {echo_guard: banana}\n", "3:25 ")]
        {
            let error = listening(section).unwrap_err();
            assert!(error.starts_with(at), "{section}: {error}");
        }
    }
}
