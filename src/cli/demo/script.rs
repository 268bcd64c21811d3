//! The scripted caller of the demo: what it says and what it waits for. Pure: it hears frames and says when to speak.

use serde::Deserialize;
use std::time::{Duration, Instant};

/// Silence of the agent that ends its turn in the caller's ears.
const AGENT_DONE: Duration = Duration::from_millis(900);
/// A caller gives up waiting for the agent after this long.
const PATIENCE: Duration = Duration::from_secs(25);

/// One line of the caller.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Recording, relative to the script.
    pub file: String,
    /// The words of the recording.
    pub words: String,
    /// Speak into the agent's speech, this long after it began, instead of waiting for its end.
    #[serde(default)]
    pub interrupt_after_ms: Option<u64>,
}

/// What the caller does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Play line number so-and-so.
    Say(usize),
    /// The script is over: hang up.
    HangUp,
    /// The agent has been silent for too long.
    GiveUp,
}

/// Follows a script by ear.
#[derive(Debug)]
pub struct Script {
    lines: Vec<Line>,
    next: usize,
    /// When the agent's present speech began, and when it was last heard.
    agent: Option<(Instant, Instant)>,
    waiting_since: Option<Instant>,
    speaking: bool,
}

impl Script {
    /// A script at its beginning.
    #[must_use]
    pub fn new(lines: Vec<Line>) -> Self {
        Self { lines, next: 0, agent: None, waiting_since: None, speaking: false }
    }

    /// The line's words.
    #[must_use]
    pub fn words(&self, line: usize) -> &str {
        self.lines.get(line).map_or("", |l| &l.words)
    }

    /// Whether every line has been begun.
    #[must_use]
    pub fn is_spoken(&self) -> bool {
        self.next >= self.lines.len()
    }

    /// The line has been played.
    pub fn said(&mut self, now: Instant) {
        self.speaking = false;
        self.agent = None;
        self.waiting_since = Some(now);
    }

    /// One 20 ms frame of the agent's side.
    pub fn hear(&mut self, now: Instant, audible: bool) -> Option<Action> {
        if audible {
            let (began, _) = self.agent.get_or_insert((now, now));
            self.agent = Some((*began, now));
        }
        if self.speaking {
            return None;
        }
        let waiting_since = *self.waiting_since.get_or_insert(now);
        let Some((began, last)) = self.agent else {
            return (now.saturating_duration_since(waiting_since) >= PATIENCE).then_some(Action::GiveUp);
        };
        let Some(line) = self.lines.get(self.next) else {
            return (now.saturating_duration_since(last) >= AGENT_DONE).then_some(Action::HangUp);
        };
        let due = match line.interrupt_after_ms {
            Some(after) => now.saturating_duration_since(began) >= Duration::from_millis(after),
            None => now.saturating_duration_since(last) >= AGENT_DONE,
        };
        due.then(|| {
            self.speaking = true;
            self.next += 1;
            Action::Say(self.next - 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(interrupt_after_ms: Option<u64>) -> Line {
        Line { file: String::new(), words: String::new(), interrupt_after_ms }
    }

    fn frames(script: &mut Script, now: &mut Instant, milliseconds: u64, audible: bool) -> Vec<Action> {
        (0..milliseconds / 20)
            .filter_map(|_| {
                *now += Duration::from_millis(20);
                script.hear(*now, audible)
            })
            .collect()
    }

    #[test]
    fn the_caller_waits_for_the_agents_end_interrupts_where_told_and_hangs_up_last() {
        let mut now = Instant::now();
        let mut script = Script::new(vec![line(None), line(Some(400))]);
        assert!(frames(&mut script, &mut now, 2_000, false).is_empty(), "the agent speaks first");
        assert!(frames(&mut script, &mut now, 2_000, true).is_empty());
        assert_eq!(frames(&mut script, &mut now, 900, false), [Action::Say(0)]);
        script.said(now);
        assert!(frames(&mut script, &mut now, 400, true).is_empty());
        assert_eq!(frames(&mut script, &mut now, 60, true), [Action::Say(1)]);
        assert!(frames(&mut script, &mut now, 2_000, false).is_empty(), "it is speaking");
        script.said(now);
        frames(&mut script, &mut now, 1_000, true);
        assert_eq!(frames(&mut script, &mut now, 900, false), [Action::HangUp]);
    }

    #[test]
    fn a_silent_agent_is_given_up() {
        let mut now = Instant::now();
        let mut script = Script::new(vec![line(None)]);
        assert_eq!(frames(&mut script, &mut now, 25_020, false), [Action::GiveUp]);
    }
}
