//! The ways to a registrar, best first, and which of them failed lately (RFC 3263 §4.3).

use crate::sip::config::Target;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a target that failed is left out, so that a refresh does not wait for it each time. The best one is tried
/// again after it, so that registrations return home.
pub(super) const TARGET_REST: Duration = Duration::from_secs(300);

/// Targets in order of preference. Never empty.
#[derive(Debug)]
pub(super) struct Targets {
    first: Target,
    others: Vec<Target>,
    current: Target,
    /// Targets that failed, and until when they are left out.
    resting: Vec<(Target, Instant)>,
}

impl Targets {
    /// `None` for an empty list.
    pub(super) fn new(list: &[Target]) -> Option<Self> {
        let (first, others) = list.split_first()?;
        Some(Self { first: *first, others: others.to_vec(), current: *first, resting: Vec::new() })
    }

    /// The one in use.
    pub(super) fn current(&self) -> Target {
        self.current
    }

    /// All, best first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Target> + '_ {
        [self.first].into_iter().chain(self.others.iter().copied())
    }

    /// Whether one of them has this address.
    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.iter().any(|target| target.remote.ip().to_canonical() == address)
    }

    /// Whether another one than the current is worth a try.
    pub(super) fn has_other(&self, now: Instant) -> bool {
        self.iter().any(|target| target != self.current && !self.rests(now, target))
    }

    /// Goes to the best one that did not fail lately; stays when all did.
    pub(super) fn choose(&mut self, now: Instant) {
        self.resting.retain(|(_, until)| *until > now);
        self.current = self.best(now).unwrap_or(self.current);
    }

    /// The current one failed. True when there is another to try, which is the current one then; otherwise all start
    /// afresh with the best.
    pub(super) fn fail(&mut self, now: Instant, rest: Duration) -> bool {
        let failed = self.current;
        self.resting.retain(|(target, _)| *target != failed);
        self.resting.push((failed, now + rest.max(TARGET_REST)));
        match self.best(now) {
            Some(next) => {
                self.current = next;
                true
            }
            None => {
                self.resting.clear();
                self.current = self.first;
                false
            }
        }
    }

    /// Goes to the target with this address and port, if it is one of them.
    pub(super) fn move_to(&mut self, address: IpAddr, port: Option<u16>) -> bool {
        let fits = |target: &Target| {
            target.remote.ip().to_canonical() == address.to_canonical()
                && port.is_none_or(|port| port == target.remote.port())
        };
        let found = self.iter().find(fits);
        if let Some(target) = found {
            self.current = target;
        }
        found.is_some()
    }

    /// Takes another list. True when the current one is still among them and goes on.
    pub(super) fn replace(&mut self, list: Self) -> bool {
        let is_there = list.iter().any(|target| target == self.current);
        let (current, resting) = (self.current, std::mem::take(&mut self.resting));
        *self = list;
        self.resting = resting;
        if is_there {
            self.current = current;
        }
        is_there
    }

    /// The first that did not fail lately.
    fn best(&self, now: Instant) -> Option<Target> {
        self.iter().find(|target| !self.rests(now, *target))
    }

    fn rests(&self, now: Instant, target: Target) -> bool {
        self.resting.iter().any(|(resting, until)| *resting == target && *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(last: u8) -> Target {
        Target::udp(([10, 0, 0, last], 5060).into())
    }

    fn targets(last: &[u8]) -> Targets {
        Targets::new(&last.iter().map(|n| target(*n)).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn each_target_is_tried_once_before_all_start_afresh_with_the_best() {
        let now = Instant::now();
        let mut targets = targets(&[1, 2, 3]);
        assert!(targets.fail(now, Duration::ZERO) && targets.current() == target(2));
        assert!(targets.has_other(now));
        assert!(targets.fail(now, Duration::ZERO) && targets.current() == target(3));
        assert!(!targets.has_other(now));
        assert!(!targets.fail(now, Duration::ZERO));
        assert_eq!(targets.current(), target(1));
        assert!(targets.has_other(now));
    }

    #[test]
    fn the_best_target_is_chosen_again_after_its_rest() {
        let now = Instant::now();
        let mut targets = targets(&[1, 2]);
        assert!(targets.fail(now, Duration::ZERO));
        targets.choose(now + TARGET_REST / 2);
        assert_eq!(targets.current(), target(2));
        targets.choose(now + TARGET_REST);
        assert_eq!(targets.current(), target(1));
    }

    #[test]
    fn a_fresh_list_keeps_the_current_target_while_it_is_in_it() {
        let mut list = targets(&[1, 2]);
        assert!(list.fail(Instant::now(), Duration::ZERO));
        assert!(list.replace(targets(&[3, 2])));
        assert_eq!(list.current(), target(2));
        assert!(!list.replace(targets(&[4, 5])));
        assert_eq!(list.current(), target(4));
        assert!(list.has_address([10, 0, 0, 5].into()) && !list.has_address([10, 0, 0, 2].into()));
    }
}
