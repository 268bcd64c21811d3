//! Whether a worker may take another leg: by how late it begins its slots.
//!
//! A worker that begins slots late sends packets late, and every further leg makes it worse for all of them. So the share
//! of late slots over the last seconds decides, before the callers hear it. Pure: time comes from outside.

use std::time::{Duration, Instant};

/// Parts of the window, which moves on by one of them at a time.
const PARTS: usize = 8;

/// When a worker takes no further leg.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Admission {
    /// A slot that begins this much after its time is late. Receivers hold back 20 ms or more, so half of that is not
    /// heard yet.
    pub late: Duration,
    /// Further legs are refused when more than this share of the slots was late (0.0–1.0).
    pub refuse_above: f32,
    /// They are taken again when it has fallen to this share. Below [`Self::refuse_above`], so that it does not flutter.
    pub admit_below: f32,
    /// The time that is looked back upon.
    pub window: Duration,
    /// A worker with fewer legs is never refused more: what makes it late is not their load, and turning calls away would
    /// not help.
    pub fewest_legs: usize,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            late: Duration::from_millis(10),
            refuse_above: 0.02,
            admit_below: 0.005,
            window: Duration::from_secs(4),
            fewest_legs: 32,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    slots: u32,
    late: u32,
}

/// Measures the lateness of one worker.
#[derive(Debug)]
pub struct LatenessGauge {
    settings: Admission,
    parts: [Part; PARTS],
    current: usize,
    /// When the current part is over.
    until: Instant,
    is_overloaded: bool,
}

impl LatenessGauge {
    /// A gauge that has seen nothing.
    #[must_use]
    pub fn new(settings: Admission, now: Instant) -> Self {
        let until = now + settings.window / PARTS as u32;
        Self { settings, parts: [Part::default(); PARTS], current: 0, until, is_overloaded: false }
    }

    /// A slot with legs was begun `late` after its time.
    pub fn record(&mut self, now: Instant, late: Duration) {
        self.advance(now);
        if let Some(part) = self.parts.get_mut(self.current) {
            part.slots += 1;
            part.late += u32::from(late > self.settings.late);
        }
    }

    /// Lets time pass. To be called at least once a second, so that a worker without legs recovers.
    pub fn advance(&mut self, now: Instant) {
        let part = self.settings.window / PARTS as u32;
        for _ in 0..PARTS {
            if now < self.until {
                break;
            }
            // Judged at the end of every part, so that one bad moment is not weighed before the others are known.
            self.judge();
            self.current = (self.current + 1) % PARTS;
            if let Some(oldest) = self.parts.get_mut(self.current) {
                *oldest = Part::default();
            }
            self.until += part;
        }
        if now >= self.until {
            // Longer than the whole window ago.
            self.until = now + part;
            self.judge();
        }
    }

    fn judge(&mut self) {
        let share = self.late_share();
        self.is_overloaded =
            if self.is_overloaded { share > self.settings.admit_below } else { share > self.settings.refuse_above };
    }

    /// Share of late slots in the window (0.0–1.0).
    #[must_use]
    pub fn late_share(&self) -> f32 {
        let (slots, late) =
            self.parts.iter().fold((0, 0), |(slots, late), part| (slots + part.slots, late + part.late));
        if slots == 0 { 0.0 } else { late as f32 / slots as f32 }
    }

    /// Whether further legs are to be refused, on a worker with [`Admission::fewest_legs`] or more.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.is_overloaded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Duration = Duration::from_millis(2);

    struct Line {
        gauge: LatenessGauge,
        now: Instant,
    }

    impl Line {
        fn new() -> Self {
            let now = Instant::now();
            Self { gauge: LatenessGauge::new(Admission::default(), now), now }
        }

        /// Seconds in which every `nth` slot is this late; 0 for none.
        fn run(&mut self, seconds: u32, nth: u32, late: Duration) {
            for n in 1..=seconds * 500 {
                self.now += SLOT;
                let late = if nth > 0 && n % nth == 0 { late } else { Duration::from_micros(300) };
                self.gauge.record(self.now, late);
            }
        }
    }

    #[test]
    fn a_worker_that_is_in_time_is_never_refused() {
        let mut line = Line::new();
        line.run(20, 0, Duration::ZERO);
        line.run(20, 3, Duration::from_millis(9));
        line.run(20, 100, Duration::from_millis(80));
        assert!(!line.gauge.is_overloaded(), "{}", line.gauge.late_share());
    }

    #[test]
    fn lateness_is_noticed_within_two_seconds_and_forgiven_after_the_window() {
        let mut line = Line::new();
        line.run(10, 0, Duration::ZERO);
        line.run(2, 10, Duration::from_millis(15));
        assert!(line.gauge.is_overloaded(), "a tenth of the slots is late");
        line.run(3, 0, Duration::ZERO);
        assert!(line.gauge.is_overloaded(), "still within the window");
        line.run(2, 0, Duration::ZERO);
        assert!(!line.gauge.is_overloaded());
    }

    #[test]
    fn between_both_shares_it_stays_as_it_was() {
        let mut line = Line::new();
        // One in a hundred: above `admit_below`, under `refuse_above`.
        line.run(10, 100, Duration::from_millis(15));
        assert!(!line.gauge.is_overloaded());
        line.run(5, 20, Duration::from_millis(15));
        assert!(line.gauge.is_overloaded());
        line.run(20, 100, Duration::from_millis(15));
        assert!(line.gauge.is_overloaded(), "{}", line.gauge.late_share());
    }

    #[test]
    fn a_single_hiccup_refuses_nobody() {
        let mut line = Line::new();
        line.run(10, 0, Duration::ZERO);
        // 40 ms during which nothing ran: its 20 slots are late.
        for _ in 0..20 {
            line.gauge.record(line.now, Duration::from_millis(40));
        }
        line.run(1, 0, Duration::ZERO);
        assert!(!line.gauge.is_overloaded(), "{}", line.gauge.late_share());
    }

    #[test]
    fn a_worker_whose_legs_have_all_gone_recovers_by_itself() {
        let mut line = Line::new();
        line.run(5, 2, Duration::from_millis(30));
        assert!(line.gauge.is_overloaded());
        for second in 1..=5 {
            line.gauge.advance(line.now + Duration::from_secs(second));
        }
        assert!(!line.gauge.is_overloaded());
        assert_eq!(line.gauge.late_share(), 0.0);
        let mut line = Line::new();
        line.run(5, 2, Duration::from_millis(30));
        line.gauge.advance(line.now + Duration::from_secs(3_600));
        assert!(!line.gauge.is_overloaded(), "after an hour at once");
    }
}
