//! What a vendor of speech-to-speech owes the call and since when, and what another has to be told to pay it. Pure.
//!
//! Where the vendor takes the turns, an answer is owed once it has said that the caller has finished. One that says nothing
//! any more is found out by our own ears:
//!
//! ```text
//!   the caller has finished ([`Caller`](super::caller)) ── patience ──▶ no sign of life: another is asked
//!                │ any event of the vendor, or its answer to a ping
//!                ▼
//!   it lives: it may wait for more, as long as its own turn-taking does ── TURN_OPEN ──▶ no answer: another is asked
//! ```
//!
//! An answer to a ping is no sign of life from a vendor that reports every beginning of speech, and has passed over
//! [`SPEECH`] of voice: its transport lives, and nobody behind it. After a sign of life nothing is owed to less voice than
//! that, unless the vendor itself has taken it for speech. What is less than an utterance, such as a cough, is nothing.

use super::caller::Utterance;
use crate::providers::limits::TURN_OPEN;
use crate::providers::realtime::{Patience, RealtimeStream};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// The caller's audio that another vendor can still be told: a turn longer than that is understood from its end.
pub(super) const TAPE: Duration = Duration::from_secs(6);

/// Silence behind the caller's words is kept for this part of [`TAPE`]: enough for a vendor to find the end of the turn.
const SILENCE_SHARE: usize = 6;

/// What is owed in one call.
#[derive(Debug, Default)]
pub(super) struct Debt {
    /// A session that takes audio.
    session: Option<Instant>,
    answer: Option<Answer>,
    /// Calls of tools without their results.
    calls: u32,
    /// What the caller has said that no vendor has understood; of too much, the end.
    tape: VecDeque<i16>,
    /// Samples of [`TAPE`].
    longest: usize,
    /// Where on the tape the silence begins, while the caller is silent by our own ears.
    silent_from: Option<usize>,
    /// The caller's turn is over, by our own turn-taking.
    committed: bool,
    /// The answer under way ended before its end.
    broken_off: bool,
    overheard: Option<Overheard>,
    last_try: Option<LastTry>,
    /// A last try was made since the vendor last paid.
    has_tried: bool,
    /// When the vendor last took the caller for speaking, and when it last answered.
    taken_at: Option<Instant>,
    answered_at: Option<Instant>,
}

/// The caller has finished by our own ears, and the vendor has not said so.
#[derive(Clone, Copy, Debug)]
struct Overheard {
    since: Instant,
    lives: bool,
    /// Only an event will do: not a ping's answer.
    wants_word: bool,
    /// Something was said that needs an answer.
    is_speech: bool,
}

/// A fresh session of the vendor's own, which nobody stands behind.
#[derive(Clone, Copy, Debug)]
struct LastTry {
    until: Instant,
    /// It takes audio.
    is_ready: bool,
    /// That is all it has to do: what was late was a session.
    for_session: bool,
}

/// Voice of the caller that is speech, whatever the vendor takes it for.
const SPEECH: Duration = Duration::from_millis(800);

/// An answer that is owed.
#[derive(Clone, Copy, Debug)]
struct Answer {
    since: Instant,
    /// What it answers is known in words; else it is on the tape.
    in_words: bool,
}

impl Debt {
    pub(super) fn new(longest: usize) -> Self {
        Self { longest, ..Self::default() }
    }

    /// A session is being opened, which begins with words of its own or goes on with what is owed.
    pub(super) fn opening(&mut self, speaks_first: bool, now: Instant) {
        self.session = Some(now);
        if speaks_first || std::mem::take(&mut self.broken_off) {
            self.answer.get_or_insert(Answer { since: now, in_words: true });
        }
    }

    /// It takes audio: from here on its answer counts.
    pub(super) fn ready(&mut self, now: Instant) {
        if self.session.take().is_some()
            && let Some(answer) = &mut self.answer
        {
            answer.since = now;
        }
        self.fresh_ready();
        self.last_try = self.last_try.filter(|last_try| !last_try.for_session && self.is_answer());
    }

    /// Whether the vendor may still be asked over a fresh session of its own, for want of another.
    pub(super) fn may_try_again(&self) -> bool {
        !self.has_tried
    }

    /// It is, and has until then.
    pub(super) fn tries_again(&mut self, until: Instant) {
        let for_session = self.session.is_some();
        (self.has_tried, self.last_try) = (true, Some(LastTry { until, is_ready: false, for_session }));
    }

    /// It cannot be.
    pub(super) fn cannot_try(&mut self) {
        self.last_try = None;
    }

    /// The fresh session takes audio.
    pub(super) fn fresh_ready(&mut self) {
        if let Some(last_try) = &mut self.last_try {
            last_try.is_ready = true;
        }
    }

    /// When the last try is over.
    pub(super) fn over_at(&self) -> Option<Instant> {
        self.last_try.map(|last_try| last_try.until)
    }

    /// The last try is over; true when the vendor is given up. Where it has never said that it owes anything, two sessions
    /// that live and take the caller for silent are believed.
    pub(super) fn is_lost(&mut self) -> bool {
        let is_ready = self.last_try.take().is_some_and(|last_try| last_try.is_ready);
        self.session.is_some() || self.answer.is_some() || self.overheard.is_some() && !is_ready
    }

    /// Audio of the caller.
    pub(super) fn pushed(&mut self, samples: &[i16]) {
        self.tape.extend(samples);
        if let Some(from) = self.silent_from {
            // Of the silence, the last is kept: words before it are told however long the vendor takes.
            let excess = self.tape.len().saturating_sub(from + self.longest / SILENCE_SHARE);
            self.tape.drain(from..from + excess);
        }
        let excess = self.tape.len().saturating_sub(self.longest);
        self.tape.drain(..excess);
        self.silent_from = self.silent_from.map(|from| from.saturating_sub(excess));
    }

    /// The caller has finished, by us.
    pub(super) fn committed(&mut self, now: Instant) {
        self.committed = true;
        self.finished(now);
    }

    /// By our own ears, the caller speaks.
    pub(super) fn speaks(&mut self) {
        (self.overheard, self.silent_from) = (None, None);
    }

    /// By our own ears, the caller has finished; `reports` says that the vendor reports every beginning of speech. True when
    /// it should be asked for a sign of life.
    pub(super) fn overheard(&mut self, said: Utterance, reports: bool) -> bool {
        let since = |at: Option<Instant>| at.is_some_and(|at| at >= said.from);
        if self.session.is_some() || self.answer.is_some() || self.calls > 0 || since(self.answered_at) {
            return false;
        }
        let is_taken = since(self.taken_at);
        let is_speech = said.voice >= SPEECH || is_taken;
        let wants_word = reports && is_speech && !is_taken;
        self.silent_from = Some(self.tape.len());
        self.overheard = Some(Overheard { since: said.to, lives: false, wants_word, is_speech });
        true
    }

    /// The vendor has given a sign of life: an event, or the answer to a ping. True when that was what it owed.
    pub(super) fn lives(&mut self, is_event: bool) -> bool {
        let Some(overheard) = self.overheard.as_mut().filter(|overheard| is_event || !overheard.wants_word) else {
            return false;
        };
        let was_owed = !std::mem::replace(&mut overheard.lives, true);
        if !overheard.is_speech {
            self.overheard = None;
        }
        if was_owed && self.last_try.take().is_some() {
            self.has_tried = false;
        }
        was_owed
    }

    /// The caller has finished.
    pub(super) fn finished(&mut self, now: Instant) {
        (self.overheard, self.last_try) = (None, None);
        self.calls = 0;
        self.answer = Some(Answer { since: now, in_words: false });
    }

    /// Words are to be answered.
    pub(super) fn told(&mut self, now: Instant) {
        (self.overheard, self.last_try) = (None, None);
        self.answer = Some(Answer { since: now, in_words: true });
    }

    /// The vendor wants a tool: it has understood, and waits.
    pub(super) fn called(&mut self, now: Instant) {
        self.paid(now);
        self.calls = self.calls.saturating_add(1);
    }

    /// A tool's answer: the last of them is to be answered.
    pub(super) fn result(&mut self, now: Instant) {
        self.calls = self.calls.saturating_sub(1);
        if self.calls == 0 {
            self.told(now);
        }
    }

    /// The caller's words are known.
    pub(super) fn understood(&mut self) {
        (self.committed, self.silent_from) = (false, None);
        self.tape.clear();
        if let Some(answer) = &mut self.answer {
            answer.in_words = true;
        }
    }

    /// The answer is there.
    pub(super) fn paid(&mut self, now: Instant) {
        self.understood();
        self.answered_at = Some(now);
        (self.session, self.answer, self.overheard) = (None, None, None);
        (self.last_try, self.has_tried) = (None, false);
    }

    /// The vendor takes the caller for speaking: nothing is owed until it has finished.
    pub(super) fn taken(&mut self, now: Instant) {
        self.void();
        (self.taken_at, self.answered_at) = (Some(now), None);
        if let Some(overheard) = &mut self.overheard {
            overheard.is_speech = true;
        }
    }

    /// The caller interrupts: nothing is owed until it has finished.
    pub(super) fn void(&mut self) {
        (self.answer, self.broken_off, self.calls, self.last_try) = (None, false, 0, None);
    }

    /// The answer under way ended before its end; whether it is asked for again is seen by what follows.
    pub(super) fn broke_off(&mut self) {
        self.broken_off = true;
    }

    /// Whether the answer under way ended before its end, and nobody has gone on since.
    pub(super) fn is_broken_off(&self) -> bool {
        self.broken_off
    }

    /// The same vendor goes on.
    pub(super) fn mended(&mut self) {
        self.broken_off = false;
    }

    /// Whether the words to be answered are known.
    pub(super) fn is_in_words(&self) -> bool {
        self.broken_off || self.answer.is_some_and(|answer| answer.in_words)
    }

    /// Whether an answer is owed, not only a session.
    pub(super) fn is_answer(&self) -> bool {
        self.answer.is_some() || self.overheard.is_some()
    }

    /// When the vendor is late.
    pub(super) fn late_at(&self, patience: Patience) -> Option<Instant> {
        match (self.session, self.answer) {
            (Some(since), _) => Some(since + patience.session),
            (None, Some(answer)) => Some(answer.since + patience.answer),
            (None, None) => {
                let overheard = self.overheard?;
                Some(overheard.since + if overheard.lives { TURN_OPEN } else { patience.answer })
            }
        }
    }

    /// Tells another vendor what the caller has said and nobody has understood.
    pub(super) fn replay(&mut self, stream: &mut dyn RealtimeStream) {
        if self.is_in_words() {
            return;
        }
        if !self.tape.is_empty() {
            stream.push(self.tape.make_contiguous());
        }
        if self.committed && self.answer.is_some() {
            stream.commit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;
    use crate::base::chat::ToolSpec;
    use crate::providers::realtime::AnswerId;

    const PATIENCE: Patience = Patience {
        session: Duration::from_millis(800),
        answer: Duration::from_millis(1_000),
        last_try: Duration::from_millis(1_200),
    };

    #[derive(Default)]
    struct Told(Vec<usize>, u32);

    impl RealtimeStream for Told {
        fn push(&mut self, samples: &[i16]) {
            self.0.push(samples.len());
        }
        fn commit(&mut self) {
            self.1 += 1;
        }
        fn interrupt(&mut self, _: AnswerId, _: Duration) {}
        fn tool_result(&mut self, _: &str, _: &str, _: &str, _: bool) {}
        fn update(&mut self, _: &str, _: &[ToolSpec]) {}
        fn tell(&mut self, _: &str) {}
    }

    #[test]
    fn a_session_is_owed_before_its_answer_and_each_has_its_patience() {
        let now = Instant::now();
        let mut debt = Debt::new(0);
        debt.opening(true, now);
        assert_eq!(debt.late_at(PATIENCE), Some(now + PATIENCE.session));
        let ready = now + Duration::from_millis(500);
        debt.ready(ready);
        assert_eq!(debt.late_at(PATIENCE), Some(ready + PATIENCE.answer), "from when it could answer");
        debt.paid(ready);
        assert_eq!(debt.late_at(PATIENCE), None);
    }

    #[test]
    fn what_nobody_has_understood_is_told_as_sound_and_what_somebody_has_is_not() {
        let now = Instant::now();
        let mut debt = Debt::new(100);
        debt.pushed(&[1; 80]);
        debt.pushed(&[1; 80]);
        debt.committed(now);
        let mut told = Told::default();
        debt.replay(&mut told);
        assert_eq!((told.0.as_slice(), told.1), ([100].as_slice(), 1), "the end of it");
        debt.understood();
        assert!(debt.is_in_words() && debt.is_answer());
        let mut told = Told::default();
        debt.replay(&mut told);
        assert_eq!((told.0.len(), told.1), (0, 0));
    }

    #[test]
    fn words_are_told_however_long_the_vendor_takes_over_the_silence_behind_them() {
        let now = Instant::now();
        let said = Utterance { from: now, to: now, voice: Duration::from_secs(1) };
        let mut debt = Debt::new(600);
        debt.pushed(&[1; 300]);
        debt.overheard(said, false);
        (0..100).for_each(|_| debt.pushed(&[0; 20]));
        let mut told = Told::default();
        debt.replay(&mut told);
        assert_eq!(told.0, [400], "the words, and some of the silence");
        assert_eq!(debt.tape.iter().filter(|sample| **sample == 1).count(), 300);
        debt.pushed(&[2; 40]);
        debt.speaks();
        debt.pushed(&[2; 100]);
        assert_eq!(debt.tape.iter().filter(|sample| **sample == 2).count(), 140, "all of what the caller goes on with");
        assert_eq!(debt.tape.iter().filter(|sample| **sample == 1).count(), 300);
    }

    #[test]
    fn tools_are_waited_for_and_the_last_result_is_to_be_answered() {
        let now = Instant::now();
        let mut debt = Debt::new(0);
        debt.finished(now);
        debt.called(now);
        debt.called(now);
        assert_eq!(debt.late_at(PATIENCE), None, "we owe the vendor");
        debt.result(now);
        assert!(!debt.is_answer());
        debt.result(now);
        assert!(debt.is_answer() && debt.is_in_words());
    }

    #[test]
    fn an_answer_that_breaks_off_is_owed_by_the_next_vendor_unless_the_same_one_goes_on() {
        let now = Instant::now();
        for goes_on in [false, true] {
            let mut debt = Debt::new(0);
            debt.paid(now);
            debt.broke_off();
            if goes_on {
                debt.mended();
            }
            debt.opening(false, now);
            assert_eq!(debt.is_answer(), !goes_on);
        }
    }

    #[test]
    fn a_sign_of_life_is_owed_at_once_and_an_answer_as_late_as_the_vendor_s_own_turn_taking() {
        let began = Instant::now();
        let ms = Duration::from_millis;
        let said = |voice| Utterance { from: began, to: began + ms(2_000), voice: ms(voice) };
        let late = |debt: &Debt| debt.late_at(PATIENCE).map(|at| (at - began).as_millis());
        let mut debt = Debt::new(0);
        assert!(debt.overheard(said(1_500), true));
        assert_eq!(late(&debt), Some(3_000));
        assert!(!debt.lives(false), "its transport lives");
        assert!(debt.lives(true) && !debt.lives(true));
        assert_eq!(late(&debt), Some(2_000 + TURN_OPEN.as_millis()));
        debt.speaks();
        assert_eq!(late(&debt), None, "the caller goes on");
        for is_taken in [false, true] {
            let mut debt = Debt::new(0);
            if is_taken {
                debt.taken(began + ms(300));
            }
            debt.overheard(said(500), true);
            debt.lives(false);
            assert_eq!(late(&debt).is_some(), is_taken, "a short word counts where the vendor takes it for speech");
        }
        let mut debt = Debt::new(0);
        debt.paid(began + ms(1_000));
        assert!(!debt.overheard(said(1_500), false), "it answers already");
        debt.taken(began + ms(1_500));
        assert!(debt.overheard(said(1_500), false), "and is interrupted");
        assert!(debt.lives(false));
    }

    #[test]
    fn a_last_try_is_made_once_until_the_vendor_pays_and_ends_with_the_vendor_given_up() {
        let now = Instant::now();
        let mut debt = Debt::new(0);
        debt.committed(now);
        assert!(debt.may_try_again());
        debt.tries_again(now + PATIENCE.last_try);
        assert_eq!((debt.over_at(), debt.may_try_again()), (Some(now + PATIENCE.last_try), false));
        debt.fresh_ready();
        assert!(debt.is_lost(), "the session is there, and its answer is owed");
        assert_eq!(debt.over_at(), None);
        debt.committed(now);
        assert!(!debt.may_try_again(), "it has not paid since");
        debt.paid(now);
        debt.committed(now);
        assert!(debt.may_try_again());
    }

    #[test]
    fn what_two_living_sessions_take_for_silence_is_silence() {
        let now = Instant::now();
        let said = Utterance { from: now, to: now, voice: Duration::from_secs(2) };
        for is_ready in [false, true] {
            let mut debt = Debt::new(0);
            debt.overheard(said, true);
            debt.tries_again(now + PATIENCE.last_try);
            if is_ready {
                debt.fresh_ready();
            }
            assert_eq!(debt.is_lost(), !is_ready);
        }
    }

    #[test]
    fn a_late_session_ends_the_last_try_for_it_and_a_late_sign_of_life_that_for_the_sign() {
        let now = Instant::now();
        for speaks_first in [false, true] {
            let mut debt = Debt::new(0);
            debt.opening(speaks_first, now);
            debt.tries_again(now + PATIENCE.last_try);
            debt.ready(now);
            assert_eq!((debt.over_at(), debt.may_try_again()), (None, false));
        }
        let mut debt = Debt::new(0);
        debt.committed(now);
        debt.tries_again(now + PATIENCE.last_try);
        debt.opening(false, now);
        debt.ready(now);
        assert!(debt.over_at().is_some(), "an answer is owed, and the session is the second");
        let mut debt = Debt::new(0);
        debt.overheard(Utterance { from: now, to: now, voice: Duration::from_secs(2) }, false);
        debt.tries_again(now + PATIENCE.last_try);
        debt.lives(false);
        assert_eq!((debt.over_at(), debt.may_try_again()), (None, true));
    }

    /// In whatever order things happen: nothing is late after an answer or an interruption, and the tape is bounded.
    #[test]
    fn no_order_of_events_leaves_a_debt_behind_that_is_paid() {
        let mut random = Random::seeded(7);
        let now = Instant::now();
        let mut debt = Debt::new(50);
        for step in 0..20_000 {
            let now = now + Duration::from_millis(step);
            let said = Utterance { from: now, to: now, voice: Duration::from_millis(step % 2_000) };
            match random.below(18) {
                0 => debt.opening(false, now),
                1 => debt.opening(true, now),
                2 => debt.ready(now),
                3 => debt.pushed(&[0; 20]),
                4 => debt.committed(now),
                5 => debt.finished(now),
                6 => debt.told(now),
                7 => debt.called(now),
                8 => debt.result(now),
                9 => debt.understood(),
                10 => debt.broke_off(),
                11 => debt.speaks(),
                12 => assert!(!debt.overheard(said, step % 3 == 0) || debt.is_answer()),
                13 => _ = debt.lives(step % 2 == 0),
                14 => debt.taken(now),
                15 => debt.tries_again(now + PATIENCE.last_try),
                16 => _ = debt.is_lost(),
                _ => {
                    debt.paid(now);
                    assert_eq!((debt.late_at(PATIENCE), debt.over_at(), debt.tape.len()), (None, None, 0));
                    assert!(debt.may_try_again());
                }
            }
            assert!(debt.tape.len() <= 50 && !(debt.over_at().is_some() && debt.may_try_again()));
            assert!(debt.late_at(PATIENCE).is_none_or(|at| at <= now + TURN_OPEN));
        }
    }
}
