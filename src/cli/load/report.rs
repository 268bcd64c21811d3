//! The figures in words: a line while it runs, tables at the end, JSON for programs.

use super::figures::{Failure, Figures, Times};
use crate::cli::terminal::{Ink, Style, table};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What the operator wants to hold.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Limits {
    /// Most loss, in percent.
    pub max_loss: Option<f64>,
    /// Longest round trip that 99 % stay within, or turn where turns are measured, in milliseconds.
    pub max_p99_ms: Option<f64>,
}

/// Why a run was no success, in words; empty when it was one.
#[must_use]
pub fn verdict(figures: &Figures, limits: Limits) -> Vec<String> {
    let mut reasons = Vec::new();
    let signalling = &figures.signalling;
    if signalling.placed == 0 {
        reasons.push("no call was placed".to_owned());
    } else if signalling.answered == 0 {
        reasons.push("no call was answered".to_owned());
    }
    if signalling.failed() > 0 {
        reasons.push(format!("{} of {} calls failed", signalling.failed(), signalling.placed));
    }
    if signalling.answered > 0 && figures.sound.received == 0 {
        reasons.push("no audio came back".to_owned());
    }
    if let Some(most) = limits.max_loss {
        match figures.sound.loss_percent() {
            Some(loss) if loss <= most => {}
            Some(loss) => reasons.push(format!("loss was {loss:.2} %, more than the {most} % of --max-loss")),
            None => reasons.push("loss is unknown: no audio came back".to_owned()),
        }
    }
    if let Some(most) = limits.max_p99_ms {
        let sound = &figures.sound;
        let (what, times) =
            if sound.turn.count() > 0 { ("turn", &sound.turn) } else { ("round trip", &sound.round_trip) };
        match times.ms(0.99) {
            Some(ms) if ms <= most => {}
            Some(ms) => reasons.push(format!("{what} p99 was {ms:.1} ms, more than the {most} ms of --max-p99-ms")),
            None => reasons.push("there is no p99 to hold --max-p99-ms against: nothing of ours came back".to_owned()),
        }
    }
    reasons
}

/// Failures of calls that were never up.
fn unanswered_failures(figures: &Figures) -> u64 {
    let was_up = |why: &Failure| matches!(why, Failure::HungUp | Failure::NoGoodbye);
    figures.signalling.failures.iter().filter(|(why, _)| !was_up(why)).map(|(_, count)| count).sum()
}

fn times(times: &Times) -> Value {
    json!({ "count": times.count(), "p50": times.ms(0.5), "p99": times.ms(0.99), "max": times.max_ms() })
}

/// The figures as a JSON object, named `event`. Times are in milliseconds; `null` where nothing was measured.
#[must_use]
pub fn json(event: &str, second: u64, up: usize, figures: &Figures) -> Value {
    let (sound, signalling) = (&figures.sound, &figures.signalling);
    let failures: serde_json::Map<String, Value> =
        signalling.failures.iter().map(|(why, count)| (why.to_string(), (*count).into())).collect();
    json!({
        "event": event,
        "second": second,
        "up": up,
        "placed": signalling.placed,
        "answered": signalling.answered,
        "completed": signalling.completed,
        "failed": signalling.failed(),
        "failures": failures,
        "retransmissions": signalling.retransmissions,
        "setup_ms": times(&signalling.setup),
        "sent": sound.sent,
        "unsent": sound.unsent,
        "received": sound.received,
        "missing": sound.missing,
        "duplicates": sound.duplicates,
        "reordered": sound.reordered,
        "strays": sound.strays,
        "marks_back": sound.marks_back,
        "marks_lost": sound.marks_lost,
        "loss_percent": sound.loss_percent(),
        "round_trip_ms": times(&sound.round_trip),
        "pacing_ms": times(&sound.pacing),
        "turn_ms": times(&sound.turn),
        "unanswered_turns": sound.unanswered_turns,
    })
}

/// The last object: the sum, and whether it was a success.
#[must_use]
pub fn json_summary(seconds: u64, figures: &Figures, reasons: &[String]) -> Value {
    let mut value = json("summary", seconds, 0, figures);
    if let Value::Object(object) = &mut value {
        object.remove("up");
        object.insert("ok".into(), reasons.is_empty().into());
        object.insert("reasons".into(), reasons.into());
    }
    value
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(
        || "–".to_owned(),
        |value| if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") },
    )
}

/// One line for a terminal while it runs: of the last second, and of the whole.
#[must_use]
pub fn progress(second: u64, up: usize, calls: usize, last: &Figures, all: &Figures) -> String {
    format!(
        "{second:>4} s  {up}/{calls} up  {} failed  sent {}/s  back {}/s  loss {} %  round trip p50 {} p99 {} ms",
        all.signalling.failed(),
        last.sound.sent,
        last.sound.received,
        number(last.sound.loss_percent()),
        number(last.sound.round_trip.ms(0.5)),
        number(last.sound.round_trip.ms(0.99)),
    )
}

/// Tables and histogram for the end.
#[must_use]
pub fn summary(figures: &Figures, style: Style) -> String {
    let (sound, signalling) = (&figures.sound, &figures.signalling);
    let mut out = String::new();
    let rows: Vec<Vec<String>> = [
        ("setup, INVITE to 200", &signalling.setup),
        ("echo round trip", &sound.round_trip),
        ("turn, caller silent to answer", &sound.turn),
        ("pacing, distance from 20 ms", &sound.pacing),
    ]
    .into_iter()
    .filter(|(_, times)| times.count() > 0)
    .map(|(name, times)| {
        let cells = [times.ms(0.5), times.ms(0.9), times.ms(0.99), times.max_ms()].map(number);
        [name.to_owned(), times.count().to_string()].into_iter().chain(cells).collect()
    })
    .collect();
    let _ = writeln!(out, "{}", style.paint(Ink::Strong, "Calls"));
    let share = signalling.answered as f64 / signalling.placed.max(1) as f64 * 100.0;
    let _ = writeln!(
        out,
        "  {} placed, {} answered ({share:.1} %), {} completed, {} failed, {} requests sent again",
        signalling.placed,
        signalling.answered,
        signalling.completed,
        signalling.failed(),
        signalling.retransmissions
    );
    let unsettled = signalling.placed.saturating_sub(signalling.answered + unanswered_failures(figures));
    if unsettled > 0 {
        let _ = writeln!(out, "  {unsettled} not answered yet when the time was over");
    }
    for (why, count) in &signalling.failures {
        let _ = writeln!(out, "  {}", style.paint(Ink::Bad, &format!("{count} × {why}")));
    }
    let _ = writeln!(out, "\n{}", style.paint(Ink::Strong, "Audio"));
    let _ = writeln!(
        out,
        "  {} packets sent, {} came; {} missing, {} doubled, {} out of order; loss {} %",
        sound.sent,
        sound.received,
        sound.missing.max(0),
        sound.duplicates,
        sound.reordered,
        number(sound.loss_percent())
    );
    if sound.marks_lost > 0 && sound.marks_back == 0 {
        let _ = writeln!(
            out,
            "  Nothing that we sent came back: the far side is no echo, or changes the octets (try --send tones)."
        );
    }
    if sound.unsent > 0 {
        let _ = writeln!(out, "  {} packets could not be sent by this machine", sound.unsent);
    }
    if sound.unanswered_turns > 0 {
        let _ = writeln!(out, "  {} turns were not answered within 20 s", sound.unanswered_turns);
    }
    if !rows.is_empty() {
        let _ = write!(out, "\n{}", table(&["milliseconds", "count", "p50", "p90", "p99", "max"], &rows));
    }
    let main = if sound.turn.count() > 0 { ("Turns", &sound.turn) } else { ("Round trips", &sound.round_trip) };
    if main.1.count() > 0 {
        let _ = write!(out, "\n{}\n{}", style.paint(Ink::Strong, main.0), histogram(main.1));
    }
    out
}

/// Columns of the longest bar.
const BAR: u64 = 40;

/// A bar for each doubling of the time.
#[must_use]
pub fn histogram(times: &Times) -> String {
    let bounds: Vec<u64> = std::iter::once(0).chain((0..20).map(|n| 125 << n)).collect();
    let counts: Vec<u64> = bounds.windows(2).map(|w| times.count_between(w[0], w[1])).collect();
    let (Some(first), Some(last)) = (counts.iter().position(|c| *c > 0), counts.iter().rposition(|c| *c > 0)) else {
        return String::new();
    };
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let mut out = String::new();
    for (count, bound) in counts.iter().zip(bounds.iter().skip(1)).take(last + 1).skip(first) {
        let bar = "█".repeat((count * BAR).div_ceil(most) as usize);
        let _ = writeln!(
            out,
            "  < {:>8} ms  {bar:<40} {:>5.1} %",
            number(Some(*bound as f64 / 1_000.0)),
            *count as f64 / times.count() as f64 * 100.0
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Figures {
        let mut figures = Figures::default();
        (figures.signalling.placed, figures.signalling.answered, figures.signalling.completed) = (10, 10, 10);
        (figures.sound.sent, figures.sound.received, figures.sound.marks_back) = (1_000, 990, 990);
        figures.sound.marks_lost = 10;
        for ms in 1..=100 {
            figures.sound.round_trip.record(ms * 200);
        }
        figures
    }

    #[test]
    fn a_run_without_failure_is_a_success_whatever_was_lost_unless_limits_are_given() {
        assert!(verdict(&good(), Limits::default()).is_empty());
        let loss = verdict(&good(), Limits { max_loss: Some(0.5), max_p99_ms: Some(100.0) });
        assert!(loss.len() == 1 && loss[0].contains("1.00 %"), "{loss:?}");
        let slow = verdict(&good(), Limits { max_loss: Some(1.0), max_p99_ms: Some(10.0) });
        assert!(slow.len() == 1 && slow[0].contains("round trip p99 was 19.8 ms"), "{slow:?}");
    }

    #[test]
    fn failed_calls_silence_and_nothing_at_all_are_no_success() {
        let mut failed = good();
        failed.signalling.fail(Failure::Status(486, "Busy Here".into()));
        assert_eq!(verdict(&failed, Limits::default()), ["1 of 10 calls failed"]);
        let mut silent = good();
        let mut ringing = Figures::default();
        ringing.signalling.placed = 3;
        assert_eq!(verdict(&ringing, Limits::default()), ["no call was answered"]);
        assert!(summary(&ringing, Style::plain()).contains("3 not answered yet"));
        silent.sound = super::super::figures::Sound::default();
        assert_eq!(verdict(&silent, Limits::default()), ["no audio came back"]);
        assert_eq!(verdict(&silent, Limits { max_loss: Some(1.0), max_p99_ms: Some(9.0) }).len(), 3);
        assert_eq!(verdict(&Figures::default(), Limits::default()), ["no call was placed"]);
    }

    #[test]
    fn the_summary_names_each_failure_and_leaves_out_what_was_not_measured() {
        let mut figures = good();
        figures.signalling.fail(Failure::Status(503, "Service Unavailable".into()));
        let text = summary(&figures, Style::plain());
        assert!(text.contains("1 × 503 Service Unavailable") && text.contains("echo round trip"), "{text}");
        assert!(!text.contains("turn, caller"), "{text}");
        let value = json_summary(10, &figures, &["1 of 10 calls failed".into()]);
        assert_eq!(value["failures"]["503 Service Unavailable"], 1);
        assert_eq!((&value["ok"], &value["event"]), (&Value::Bool(false), &Value::from("summary")));
        assert!(value["turn_ms"]["p50"].is_null() && value["round_trip_ms"]["p99"].as_f64().is_some());
    }

    #[test]
    fn bars_double_in_time_and_are_as_long_as_their_share() {
        let mut times = Times::default();
        (0..90).for_each(|_| times.record(300));
        (0..10).for_each(|_| times.record(900));
        let text = histogram(&times);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].contains("0.50 ms") && lines[0].matches('█').count() == 40 && lines[0].ends_with("90.0 %"),
            "{text}"
        );
        assert!(lines[1].contains("1.00 ms") && lines[1].matches('█').count() == 5, "{text}");
        assert_eq!(histogram(&Times::default()), "");
    }
}
