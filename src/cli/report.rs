//! How calls are shown to a person: transcript lines, a waterfall of each turn, the table at the end.

use crate::call::CallEvent;
use crate::cli::terminal::{Ink, Style, table};
use crate::turn::ledger::percentile;
use crate::turn::{Stage, TurnRecord};
use std::fmt::Write as _;
use std::time::Duration;

/// Characters of a waterfall's bar.
const BAR_WIDTH: usize = 48;

/// Collects the call's records and words them.
#[derive(Debug)]
pub struct Report {
    style: Style,
    records: Vec<TurnRecord>,
    barge_ins: Vec<Duration>,
}

impl Report {
    /// An empty report.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self { style, records: Vec::new(), barge_ins: Vec::new() }
    }

    /// The answered turns so far.
    #[must_use]
    pub fn records(&self) -> &[TurnRecord] {
        &self.records
    }

    /// Caller's first voiced frame → agent silent, of each barge-in.
    #[must_use]
    pub fn barge_ins(&self) -> &[Duration] {
        &self.barge_ins
    }

    /// Takes an event in and prints it: as one JSON object, or as the line a person wants to see, if any.
    pub fn show(&mut self, event: &CallEvent, json: bool) {
        let line = self.line(event);
        if json {
            println!("{}", event.to_exposed_json());
        } else if let Some(line) = line {
            println!("{line}");
        }
    }

    /// Takes an event in and returns what to print for it, if anything.
    pub fn line(&mut self, event: &CallEvent) -> Option<String> {
        let paint = |ink, text: &str| self.style.paint(ink, text);
        match event {
            CallEvent::CallStarted { peer, agent, codec, setup, .. } => {
                let text =
                    format!("☎ call answered in {} for agent {agent} (peer {peer}, {codec})", milliseconds(*setup));
                Some(paint(Ink::Strong, &text))
            }
            CallEvent::CallerSaid { text, confidence, .. } => Some(format!(
                "{} {}{}",
                paint(Ink::Caller, "caller ▸"),
                text.expose(),
                paint(Ink::Faint, &format!("  ({:.0} % sure)", confidence * 100.0))
            )),
            CallEvent::AgentSaid { heard, complete: true, .. } => {
                Some(format!("{} {}", paint(Ink::Agent, "agent  ◂"), heard.expose()))
            }
            CallEvent::AgentSaid { heard, complete: false, .. } => Some(format!(
                "{} {} {}",
                paint(Ink::Agent, "agent  ◂"),
                heard.expose(),
                paint(Ink::Warning, "— interrupted")
            )),
            CallEvent::BargeIn { stopped_after, .. } => {
                self.barge_ins.push(*stopped_after);
                Some(paint(
                    Ink::Warning,
                    &format!("         ⏸ agent silent {} after the caller's first sound", milliseconds(*stopped_after)),
                ))
            }
            CallEvent::SlotFilled { slot, value, corrected, .. } => {
                let mark = if *corrected { "corrected" } else { "noted" };
                Some(paint(Ink::Faint, &format!("         ✓ {mark} {slot} = {}", value.expose())))
            }
            CallEvent::ToolFinished { tool, outcome, took, .. } => {
                Some(paint(Ink::Faint, &format!("         ⚙ {tool}: {outcome} in {}", milliseconds(*took))))
            }
            CallEvent::FailureHandled { kind, node, .. } => {
                Some(paint(Ink::Warning, &format!("         ! {kind} at {node}, handled")))
            }
            CallEvent::EngineTrouble { stage, detail, .. } => {
                Some(paint(Ink::Bad, &format!("         ! {stage}: {detail}")))
            }
            CallEvent::TurnLatency { record, .. } => {
                self.records.push(record.clone());
                Some(self.waterfall(record))
            }
            CallEvent::CallProgress { early_media, .. } => {
                Some(paint(Ink::Faint, if *early_media { "☎ the other side is heard" } else { "☎ it rings" }))
            }
            CallEvent::CallUnanswered { reason, .. } => Some(paint(Ink::Bad, &format!("☎ {reason}"))),
            CallEvent::TransferStarted { destination, .. } => Some(format!("         ⇢ transfer to {destination}")),
            CallEvent::TransferFinished { destination, accepted, reason, .. } => Some(format!(
                "         ⇢ transfer to {destination}: {} ({reason})",
                if *accepted { "taken" } else { "refused" }
            )),
            CallEvent::CallEnded { reason, duration, .. } => {
                Some(paint(Ink::Strong, &format!("☎ call ended after {:.1} s: {reason}", duration.as_secs_f64())))
            }
            _ => None,
        }
    }

    /// Stage after stage as a bar: the caller falls silent at its left end, the answer is heard at its right.
    fn waterfall(&self, record: &TurnRecord) -> String {
        let total = record.stages.iter().map(|(_, at)| *at).max().unwrap_or_default();
        let mut marks: Vec<(Stage, Duration)> = record.stages.clone();
        marks.sort_by_key(|(_, at)| *at);
        let mut bar = String::new();
        let mut legend = String::new();
        for pair in marks.windows(2) {
            let [(_, from), (stage, to)] = pair else { continue };
            let (glyph, ink) = glyph(*stage);
            let cell =
                |at: &Duration| (at.as_secs_f64() / total.as_secs_f64().max(1e-9) * BAR_WIDTH as f64).round() as usize;
            bar.push_str(&self.style.paint(ink, &glyph.to_string().repeat(cell(to) - cell(from))));
            let _ = write!(legend, " {glyph} {} +{}", stage.name().replace('_', " "), milliseconds(*to - *from));
        }
        format!(
            "         ┣{bar}┫ {}\n         {}",
            milliseconds(total),
            self.style.paint(Ink::Faint, legend.trim_start())
        )
    }

    /// The table over all turns.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut rows = Vec::new();
        for stage in Stage::ALL.into_iter().filter(|s| *s != Stage::CallerSilent) {
            let sorted = sorted(self.records.iter().filter_map(|r| r.at(stage)));
            rows.push(row(&format!("caller silent → {}", stage.name().replace('_', " ")), &sorted));
        }
        rows.push(row("barge-in: first sound → agent silent", &sorted(self.barge_ins.iter().copied())));
        table(&["stage", "turns", "p50 ms", "p95 ms", "max ms"], &rows)
    }

    /// Caller silent → first packet, sorted.
    #[must_use]
    pub fn totals(&self) -> Vec<Duration> {
        sorted(self.records.iter().filter_map(TurnRecord::total))
    }
}

fn glyph(stage: Stage) -> (char, Ink) {
    match stage {
        Stage::CallerSilent | Stage::Transcript => ('░', Ink::Caller),
        Stage::EndOfTurn => ('▒', Ink::Faint),
        Stage::FirstToken => ('▓', Ink::Warning),
        Stage::FirstAudio => ('█', Ink::Agent),
        Stage::FirstPacket => ('▪', Ink::Good),
    }
}

fn sorted(durations: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut all: Vec<Duration> = durations.collect();
    all.sort_unstable();
    all
}

fn row(name: &str, sorted: &[Duration]) -> Vec<String> {
    let ms =
        |d: Duration| if sorted.is_empty() { "–".to_owned() } else { format!("{:.0}", d.as_secs_f64() * 1000.0) };
    vec![
        name.to_owned(),
        sorted.len().to_string(),
        ms(percentile(sorted, 50.0)),
        ms(percentile(sorted, 95.0)),
        ms(sorted.last().copied().unwrap_or_default()),
    ]
}

fn milliseconds(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{CallId, TurnId};

    #[test]
    fn a_waterfall_shows_each_stage_and_the_total() {
        let ms = Duration::from_millis;
        let record = TurnRecord {
            turn: TurnId(1),
            stages: vec![
                (Stage::CallerSilent, ms(0)),
                (Stage::Transcript, ms(240)),
                (Stage::EndOfTurn, ms(300)),
                (Stage::FirstToken, ms(302)),
                (Stage::FirstAudio, ms(350)),
                (Stage::FirstPacket, ms(360)),
            ],
        };
        let mut report = Report::new(Style::plain());
        let text = report.line(&CallEvent::TurnLatency { call: CallId(1), record }).unwrap();
        assert!(
            text.contains("┫ 360 ms") && text.contains("transcript +240 ms") && text.contains("first packet +10 ms"),
            "{text}"
        );
        let bar = text.lines().next().unwrap().chars().filter(|c| "░▒▓█▪".contains(*c)).count();
        assert_eq!(bar, BAR_WIDTH);
        assert!(report.summary().contains("caller silent → first packet"));
    }
}
