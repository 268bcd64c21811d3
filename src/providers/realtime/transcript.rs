//! The words of a session in the order in which they were said. Those of the caller come when they are transcribed, which
//! may be after those of the next turn, or after the agent's answer to them.
//!
//! A vendor that says where each turn of the caller stands ([`Answered::CallerTurn`](super::protocol::Answered)) has words
//! wait for those before them, up to [`PATIENCE`]; those that come later than that come by themselves. Audio never waits.

use super::AnswerId;
use super::protocol::TurnId;
use crate::base::Pii;
use std::collections::VecDeque;
use std::time::Duration;

/// From a turn's place in the conversation to its words' being given up. Transcription takes a second where it is slow.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// Turns of the caller whose words are waited for at once; of more, the oldest is given up.
const TURNS_MAX: usize = 8;
/// Words of the agent that wait; of more, the oldest turn is given up.
const HELD_MAX: usize = 32;

/// What is to be reported, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// The caller's words.
    Caller(Pii<String>),
    /// The words of the oldest turn will not come, or not in order.
    Unheard,
    /// The agent's words.
    Agent(AnswerId, Pii<String>),
}

#[derive(Debug)]
struct Turn {
    id: TurnId,
    until: Duration,
    /// What came of it.
    words: Option<Said>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    /// In the vendor's order, from the first whose words are not known.
    turns: VecDeque<Turn>,
    /// The agent's words, each with the turn that its answer follows.
    held: VecDeque<(TurnId, AnswerId, Pii<String>)>,
    ready: VecDeque<Said>,
}

impl Transcript {
    /// A turn of the caller stands in the conversation: before another one, or last.
    pub(super) fn turn(&mut self, now: Duration, id: TurnId, before: Option<TurnId>) {
        let turn = Turn { id, until: now + PATIENCE, words: None };
        let place = match before {
            // One that has been reported already is as early as can be.
            Some(before) => self.turns.iter().position(|turn| turn.id == before).unwrap_or(0),
            None => self.turns.len(),
        };
        self.turns.insert(place, turn);
        if self.turns.len() > TURNS_MAX {
            self.give_up_first();
        }
        self.settle();
    }

    /// The words of a turn, or that they will not come.
    pub(super) fn caller(&mut self, turn: TurnId, text: Option<Pii<String>>) {
        let said = text.map_or(Said::Unheard, Said::Caller);
        match self.turns.iter_mut().find(|known| known.id == turn) {
            Some(known) => {
                known.words.get_or_insert(said);
            }
            // It was given up: the turn itself is over.
            None if said != Said::Unheard => self.ready.push_back(said),
            None => {}
        }
        self.settle();
    }

    /// Words of the caller of which the vendor says no place.
    pub(super) fn unplaced(&mut self, text: Pii<String>) {
        self.ready.push_back(Said::Caller(text));
    }

    /// The agent's words in an answer that follows a turn.
    pub(super) fn agent(&mut self, after: TurnId, answer: AnswerId, text: Pii<String>) {
        self.held.push_back((after, answer, text));
        if self.held.len() > HELD_MAX {
            self.give_up_first();
        }
        self.settle();
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn due(&self) -> Option<Duration> {
        self.turns.iter().filter(|turn| turn.words.is_none()).map(|turn| turn.until).min()
    }

    /// Gives up turns whose words are missing for too long.
    pub(super) fn expire(&mut self, now: Duration) {
        for turn in self.turns.iter_mut().filter(|turn| turn.until <= now) {
            turn.words.get_or_insert(Said::Unheard);
        }
        self.settle();
    }

    /// No more words come over this connection.
    pub(super) fn end(&mut self) {
        self.expire(Duration::MAX);
    }

    /// The next words to report.
    pub(super) fn next(&mut self) -> Option<Said> {
        self.ready.pop_front()
    }

    fn give_up_first(&mut self) {
        if let Some(turn) = self.turns.iter_mut().find(|turn| turn.words.is_none()) {
            turn.words = Some(Said::Unheard);
        }
    }

    fn settle(&mut self) {
        loop {
            while let Some((after, ..)) = self.held.front()
                && self.turns.iter().all(|turn| turn.id != *after)
            {
                let Some((_, answer, text)) = self.held.pop_front() else { break };
                self.ready.push_back(Said::Agent(answer, text));
            }
            let Some(said) = self.turns.pop_front_if(|turn| turn.words.is_some()).and_then(|turn| turn.words) else {
                return;
            };
            self.ready.push_back(said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;

    const NOW: Duration = Duration::from_secs(1);

    fn pii(text: &str) -> Pii<String> {
        Pii::new(text.to_owned())
    }

    fn told(transcript: &mut Transcript) -> Vec<String> {
        std::iter::from_fn(|| transcript.next())
            .map(|said| match said {
                Said::Caller(text) => format!("caller {}", text.expose()),
                Said::Unheard => "unheard".into(),
                Said::Agent(answer, text) => format!("agent {} {}", answer.0, text.expose()),
            })
            .collect()
    }

    #[test]
    fn words_wait_for_those_before_them_and_answers_for_what_they_answer() {
        let mut transcript = Transcript::default();
        transcript.agent(TurnId(0), AnswerId(1), pii("hello"));
        transcript.turn(NOW, TurnId(1), None);
        transcript.agent(TurnId(1), AnswerId(2), pii("yes"));
        transcript.turn(NOW, TurnId(2), None);
        transcript.caller(TurnId(2), Some(pii("two")));
        assert_eq!(told(&mut transcript), ["agent 1 hello"]);
        transcript.caller(TurnId(1), Some(pii("one")));
        assert_eq!(told(&mut transcript), ["caller one", "agent 2 yes", "caller two"]);
        assert_eq!(transcript.due(), None);
    }

    #[test]
    fn a_turn_that_is_named_late_stands_where_the_vendor_says() {
        let mut transcript = Transcript::default();
        transcript.turn(NOW, TurnId(1), None);
        transcript.turn(NOW, TurnId(2), Some(TurnId(1)));
        transcript.caller(TurnId(1), Some(pii("later")));
        transcript.caller(TurnId(2), Some(pii("earlier")));
        assert_eq!(told(&mut transcript), ["caller earlier", "caller later"]);
    }

    #[test]
    fn words_that_are_missing_are_waited_for_only_so_long_and_still_told_when_they_come() {
        let mut transcript = Transcript::default();
        transcript.turn(NOW, TurnId(1), None);
        transcript.turn(NOW * 2, TurnId(2), None);
        transcript.caller(TurnId(2), Some(pii("two")));
        assert_eq!(transcript.due(), Some(NOW + PATIENCE));
        transcript.expire(NOW + PATIENCE - Duration::from_millis(1));
        assert_eq!(told(&mut transcript), [] as [&str; 0]);
        transcript.expire(NOW + PATIENCE);
        assert_eq!(told(&mut transcript), ["unheard", "caller two"]);
        transcript.caller(TurnId(1), Some(pii("one")));
        transcript.caller(TurnId(1), None);
        assert_eq!(told(&mut transcript), ["caller one"]);
    }

    #[test]
    fn what_will_not_come_holds_nothing_back() {
        let mut transcript = Transcript::default();
        transcript.turn(NOW, TurnId(1), None);
        transcript.agent(TurnId(1), AnswerId(1), pii("pardon?"));
        transcript.caller(TurnId(1), None);
        assert_eq!(told(&mut transcript), ["unheard", "agent 1 pardon?"]);
    }

    /// Whatever order things come in, words come once, in the order of their turns, and nothing grows without bound.
    #[test]
    fn no_order_of_events_loses_words_or_tells_them_twice() {
        let mut random = Random::seeded(11);
        let mut transcript = Transcript::default();
        let (mut turns, mut open, mut said, mut heard) = (0, Vec::new(), 0, Vec::new());
        for _ in 0..20_000 {
            match random.below(4) {
                0 | 1 => {
                    turns += 1;
                    transcript.turn(NOW, TurnId(turns), None);
                    open.push(turns);
                }
                2 if !open.is_empty() => {
                    let turn = open.remove(random.below(open.len() as u64) as usize);
                    said += 1;
                    transcript.caller(TurnId(turn), Some(pii(&turn.to_string())));
                }
                _ => transcript.agent(TurnId(turns), AnswerId(1), pii("")),
            }
            assert!(transcript.turns.len() <= TURNS_MAX && transcript.held.len() <= HELD_MAX + 1);
            heard.extend(told(&mut transcript).into_iter().filter(|line| line.starts_with("caller")));
        }
        transcript.end();
        heard.extend(told(&mut transcript).into_iter().filter(|line| line.starts_with("caller")));
        let once: std::collections::BTreeSet<&String> = heard.iter().collect();
        assert_eq!((once.len(), heard.len()), (said, said));
    }
}
