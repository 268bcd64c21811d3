//! Keypad digits become one answer: complete by count, by terminator or by a pause.

use crate::base::Pii;
use std::time::{Duration, Instant};

/// Longest answer kept; further keys are ignored until it is taken.
const LONGEST_ANSWER: usize = 32;

/// Collects the digits of one answer.
#[derive(Debug, Default)]
pub struct DigitCollector {
    rules: Option<Rules>,
    keys: String,
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    max: usize,
    terminator: Option<char>,
    between_keys: Duration,
}

impl DigitCollector {
    /// Collects by these rules from here on; keys pressed ahead of the question are kept (people type ahead).
    pub fn arm(&mut self, max: usize, terminator: Option<char>, between_keys: Duration) {
        self.rules = Some(Rules { max: max.clamp(1, LONGEST_ANSWER), terminator, between_keys });
    }

    /// No answer is collected from here on; keys pressed so far are forgotten.
    pub fn disarm(&mut self) {
        *self = Self::default();
    }

    /// One key. Returns the answer when this key completes it.
    pub fn key(&mut self, now: Instant, key: char) -> Option<Pii<String>> {
        let rules = self.rules?;
        if rules.terminator == Some(key) {
            return self.take();
        }
        if self.keys.len() < LONGEST_ANSWER {
            self.keys.push(key);
        }
        if self.keys.len() >= rules.max {
            return self.take();
        }
        self.deadline = Some(now + rules.between_keys);
        None
    }

    /// When [`Self::expire`] should be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns the answer when the pause after the last key was long enough.
    pub fn expire(&mut self, now: Instant) -> Option<Pii<String>> {
        if self.deadline.is_some_and(|at| now >= at) { self.take() } else { None }
    }

    fn take(&mut self) -> Option<Pii<String>> {
        self.deadline = None;
        let keys = std::mem::take(&mut self.keys);
        (!keys.is_empty()).then(|| Pii::new(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_by_count_terminator_or_pause() {
        let t0 = Instant::now();
        let second = Duration::from_secs(1);
        let mut digits = DigitCollector::default();
        assert_eq!(digits.key(t0, '1'), None, "nothing is collected before it is armed");
        digits.arm(3, Some('#'), 2 * second);
        assert_eq!(digits.key(t0, '1'), None);
        assert_eq!(digits.key(t0, '2'), None);
        assert_eq!(digits.key(t0, '3').map(Pii::into_exposed).as_deref(), Some("123"));
        digits.key(t0, '4');
        assert_eq!(digits.key(t0, '#').map(Pii::into_exposed).as_deref(), Some("4"));
        digits.key(t0, '5');
        assert_eq!(digits.expire(t0 + second), None);
        assert_eq!(digits.expire(t0 + 2 * second).map(Pii::into_exposed).as_deref(), Some("5"));
        assert_eq!(digits.expire(t0 + 9 * second), None);
    }
}
