//! Session timers: RFC 4028, both roles. Who refreshes a session, how often, and when it counts as dead.
//!
//! ```text
//!  INVITE: Session-Expires, Min-SE ──► 422 + Min-SE: ask again for at least that
//!                                  ──► 2xx + Session-Expires;refresher=…
//!  t=0 ─────────── interval/2 ─────────────── interval − min(32 s, interval/3) ── interval
//!       the refresher: UPDATE or re-INVITE    neither side was refreshed: BYE
//! ```
//!
//! Pure: messages and the time go in; header fields and duties come out.

use super::config;
use super::header::HeaderName;
use super::header::field::{Refresher, SessionExpires};
use super::message::Message;
use std::time::{Duration, Instant};

/// The least session interval there is (RFC 4028 §4). A peer that says less would have us refresh without end.
pub const LEAST_INTERVAL_S: u32 = 90;

/// The longest interval that is taken from a peer: a day. More is as good as none, and must not overflow a timer.
pub const LONGEST_INTERVAL_S: u32 = 86_400;

/// How often a 422 is answered with a longer interval before it stands.
const MAX_RAISES: u8 = 2;

/// How long a refresh that cannot be sent at the moment waits.
pub const POSTPONED: Duration = Duration::from_secs(4);

/// What one message of the peer says about session timers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Asked {
    /// `Supported` or `Require` names `timer`.
    pub supports: bool,
    /// `Require` names `timer`.
    pub requires: bool,
    /// Session-Expires.
    pub expires: Option<SessionExpires>,
    /// Min-SE in seconds.
    pub min_se_s: Option<u32>,
}

impl Asked {
    /// Reads it; malformed fields count as absent.
    #[must_use]
    pub fn of(message: &Message<'_>) -> Self {
        let requires = message.has_token(HeaderName::Require, "timer");
        Self {
            supports: requires || message.has_token(HeaderName::Supported, "timer"),
            requires,
            expires: message.session_expires().ok().flatten(),
            min_se_s: message.seconds(HeaderName::MinSe).ok().flatten(),
        }
    }
}

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Duty {
    /// Refresh the session.
    Refresh,
    /// Nobody refreshed it: end it with BYE (§10).
    Expire,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Agreed {
    interval_s: u32,
    we_refresh: bool,
    refresh_at: Option<Instant>,
    expire_at: Instant,
}

/// Header fields to put into a message.
pub type Fields = Vec<(HeaderName, String)>;

/// The session timer of one dialog, as one side keeps it.
#[derive(Clone, Debug)]
pub struct Session {
    policy: Option<config::SessionTimer>,
    /// The largest Min-SE that the peer or a proxy has shown.
    min_se_s: u32,
    raises: u8,
    agreed: Option<Agreed>,
}

impl Session {
    /// Of a dialog with this policy; nothing is agreed yet.
    #[must_use]
    pub fn new(policy: Option<config::SessionTimer>) -> Self {
        let min_se_s = policy.map_or(LEAST_INTERVAL_S, |p| seconds(p.min_se)).max(LEAST_INTERVAL_S);
        Self { policy, min_se_s, raises: 0, agreed: None }
    }

    /// The fields of an INVITE or UPDATE of ours (§7.1, §7.4), `Supported` apart.
    #[must_use]
    pub fn request_fields(&self) -> Fields {
        let (interval_s, refresher) = match (self.agreed, self.policy) {
            (Some(agreed), _) => (agreed.interval_s, Some(if agreed.we_refresh { "uac" } else { "uas" })),
            (None, Some(policy)) => {
                let refresher = match policy.refresher {
                    config::Refresher::Either => None,
                    config::Refresher::Ours => Some("uac"),
                    config::Refresher::Theirs => Some("uas"),
                };
                (seconds(policy.expires), refresher)
            }
            (None, None) => return Vec::new(),
        };
        let expires = session_expires(interval_s.max(self.min_se_s), refresher);
        vec![(HeaderName::SessionExpires, expires), (HeaderName::MinSe, self.min_se_s.to_string())]
    }

    /// The Min-SE of the 422 that a request of the peer has to get; `None` when its interval will do. A peer that does
    /// not know session timers is not refused for what a proxy wrote (§9).
    #[must_use]
    pub fn refuses(&self, asked: &Asked) -> Option<u32> {
        let least = self.policy.map_or(LEAST_INTERVAL_S, |p| seconds(p.min_se)).max(LEAST_INTERVAL_S);
        asked.expires.filter(|expires| asked.supports && expires.interval_s < least).map(|_| least)
    }

    /// Agrees to a request of the peer at the moment its 2xx is sent, and gives the fields of that 2xx (§9).
    pub fn answer(&mut self, now: Instant, asked: &Asked) -> Fields {
        // A peer that insists on timers gets them even where our own settings do not ask for any.
        let policy = self.policy.or_else(|| asked.requires.then(config::SessionTimer::default));
        let Some(policy) = policy else {
            self.agreed = None;
            return Vec::new();
        };
        let least = self.min_se_s.max(asked.min_se_s.unwrap_or(0));
        let wanted = asked.expires.map_or_else(
            || self.agreed.map_or_else(|| seconds(policy.expires), |agreed| agreed.interval_s),
            |expires| expires.interval_s,
        );
        let interval_s = wanted.max(least).min(LONGEST_INTERVAL_S);
        let we_refresh = if asked.supports {
            match asked.expires.and_then(|e| e.refresher) {
                Some(refresher) => refresher == Refresher::Uas,
                None => match (self.agreed, policy.refresher) {
                    (Some(agreed), _) => agreed.we_refresh,
                    (None, config::Refresher::Theirs) => false,
                    (None, config::Refresher::Either | config::Refresher::Ours) => true,
                },
            }
        } else if policy.refresher == config::Refresher::Ours {
            true
        } else {
            self.agreed = None;
            return Vec::new();
        };
        self.agree(now, interval_s, we_refresh);
        let refresher = if we_refresh { "uas" } else { "uac" };
        let mut fields = vec![(HeaderName::SessionExpires, session_expires(interval_s, Some(refresher)))];
        if !we_refresh {
            fields.push((HeaderName::Require, "timer".to_owned()));
        }
        fields
    }

    /// Takes the 2xx to an INVITE or UPDATE of ours (§7.2).
    pub fn accept(&mut self, now: Instant, response: &Asked) {
        self.raises = 0;
        let Some(policy) = self.policy.or_else(|| self.agreed.map(|_| config::SessionTimer::default())) else { return };
        match response.expires {
            Some(expires) => {
                let interval_s = expires.interval_s.clamp(LEAST_INTERVAL_S, LONGEST_INTERVAL_S);
                self.agree(now, interval_s, expires.refresher != Some(Refresher::Uas));
            }
            // The peer knows no timers: only our own refreshes keep the session alive, if they are wanted.
            None => match self.agreed {
                Some(agreed) if agreed.we_refresh => self.agree(now, agreed.interval_s, true),
                None if policy.refresher == config::Refresher::Ours => {
                    let interval_s = seconds(policy.expires).max(self.min_se_s);
                    self.agree(now, interval_s, true);
                }
                Some(_) | None => self.agreed = None,
            },
        }
    }

    /// Takes the Min-SE of a 422. Whether the request is worth another try with it.
    pub fn raise(&mut self, min_se_s: Option<u32>) -> bool {
        let Some(min_se_s) = min_se_s.filter(|s| *s <= LONGEST_INTERVAL_S && self.raises < MAX_RAISES) else {
            return false;
        };
        self.raises = self.raises.saturating_add(1);
        self.min_se_s = self.min_se_s.max(min_se_s);
        if let Some(agreed) = &mut self.agreed {
            agreed.interval_s = agreed.interval_s.max(min_se_s);
        }
        true
    }

    /// A refresh could not be sent or was put off: it is due again after `wait`.
    pub fn postpone(&mut self, now: Instant, wait: Duration) {
        if let Some(agreed) = &mut self.agreed {
            agreed.refresh_at = Some(now + wait);
        }
    }

    /// A refresh was refused for a reason that may pass: tried again half-way to the end.
    pub fn retry(&mut self, now: Instant) {
        if let Some(agreed) = &mut self.agreed {
            let wait = agreed.expire_at.saturating_duration_since(now) / 2;
            agreed.refresh_at = Some(now + wait.max(POSTPONED));
        }
    }

    /// Nothing is due any more.
    pub fn stop(&mut self) {
        self.agreed = None;
    }

    /// Whether a timer runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.agreed.is_some()
    }

    /// When something is due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let agreed = self.agreed?;
        Some(agreed.refresh_at.map_or(agreed.expire_at, |at| at.min(agreed.expire_at)))
    }

    /// Takes what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Duty> {
        let agreed = self.agreed.as_mut()?;
        if agreed.expire_at <= now {
            self.agreed = None;
            return Some(Duty::Expire);
        }
        agreed.refresh_at.take_if(|at| *at <= now).map(|_| Duty::Refresh)
    }

    fn agree(&mut self, now: Instant, interval_s: u32, we_refresh: bool) {
        let interval = Duration::from_secs(u64::from(interval_s));
        let margin = Duration::from_secs(32).min(interval / 3);
        self.agreed = Some(Agreed {
            interval_s,
            we_refresh,
            refresh_at: we_refresh.then(|| now + interval / 2),
            expire_at: now + interval.saturating_sub(margin),
        });
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).min(LONGEST_INTERVAL_S)
}

fn session_expires(interval_s: u32, refresher: Option<&str>) -> String {
    refresher.map_or_else(|| interval_s.to_string(), |refresher| format!("{interval_s};refresher={refresher}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: config::SessionTimer = config::SessionTimer {
        expires: Duration::from_secs(1_800),
        min_se: Duration::from_secs(90),
        refresher: config::Refresher::Either,
    };

    fn session(refresher: config::Refresher) -> Session {
        Session::new(Some(config::SessionTimer { refresher, ..POLICY }))
    }

    fn asked(supports: bool, interval_s: Option<u32>, refresher: Option<Refresher>) -> Asked {
        let expires = interval_s.map(|interval_s| SessionExpires { interval_s, refresher });
        Asked { supports, requires: false, expires, min_se_s: None }
    }

    fn text(fields: &Fields) -> Vec<String> {
        fields.iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    /// RFC 4028 §9, table 2: what the answering side makes of support and refresher.
    #[test]
    fn the_answering_side_picks_the_refresher_as_table_2_says() {
        use config::Refresher::{Either, Ours, Theirs};
        let uas = ["Session-Expires: 600;refresher=uas"];
        let uac = ["Session-Expires: 600;refresher=uac", "Require: timer"];
        let none: [&str; 0] = [];
        for (policy, supports, refresher, expected) in [
            (Either, true, None, &uas[..]),
            (Ours, true, None, &uas),
            (Theirs, true, None, &uac),
            (Either, true, Some(Refresher::Uac), &uac),
            (Ours, true, Some(Refresher::Uac), &uac),
            (Theirs, true, Some(Refresher::Uas), &uas),
            (Ours, false, None, &uas),
            (Either, false, None, &none),
            (Theirs, false, None, &none),
        ] {
            let mut session = session(policy);
            let fields = session.answer(Instant::now(), &asked(supports, Some(600), refresher));
            assert_eq!(text(&fields), expected, "{policy:?} {supports} {refresher:?}");
            assert_eq!(session.is_running(), !expected.is_empty());
        }
    }

    #[test]
    fn without_a_policy_nothing_is_asked_unless_the_peer_requires_it() {
        let mut session = Session::new(None);
        assert_eq!(text(&session.request_fields()), Vec::<String>::new());
        let now = Instant::now();
        assert_eq!(text(&session.answer(now, &asked(true, Some(600), Some(Refresher::Uac)))), Vec::<String>::new());
        let required = Asked { requires: true, ..asked(true, Some(600), Some(Refresher::Uac)) };
        assert_eq!(text(&session.answer(now, &required)), ["Session-Expires: 600;refresher=uac", "Require: timer"]);
    }

    #[test]
    fn an_interval_below_ours_is_refused_with_our_minimum_only_to_those_who_understand() {
        let strict = Session::new(Some(config::SessionTimer { min_se: Duration::from_secs(120), ..POLICY }));
        assert_eq!(strict.refuses(&asked(true, Some(119), None)), Some(120));
        assert_eq!(strict.refuses(&asked(true, Some(120), None)), None);
        assert_eq!(strict.refuses(&asked(false, Some(10), None)), None);
        assert_eq!(strict.refuses(&asked(true, None, None)), None);
        assert_eq!(Session::new(None).refuses(&asked(true, Some(89), None)), Some(90));
    }

    #[test]
    fn a_422_raises_the_interval_twice_at_most() {
        let mut session = Session::new(Some(config::SessionTimer { expires: Duration::from_secs(100), ..POLICY }));
        assert_eq!(text(&session.request_fields()), ["Session-Expires: 100", "Min-SE: 90"]);
        assert!(session.raise(Some(300)));
        assert_eq!(text(&session.request_fields()), ["Session-Expires: 300", "Min-SE: 300"]);
        assert!(session.raise(Some(400)));
        assert!(!session.raise(Some(500)), "a peer that always wants more");
        assert!(!Session::new(Some(POLICY)).raise(None));
        assert!(!Session::new(Some(POLICY)).raise(Some(u32::MAX)));
    }

    #[test]
    fn the_refresher_refreshes_at_half_the_interval_and_gives_up_before_the_end() {
        let start = Instant::now();
        let mut session = session(config::Refresher::Either);
        session.accept(start, &asked(true, Some(90), Some(Refresher::Uac)));
        assert_eq!(session.poll_timeout(), Some(start + Duration::from_secs(45)));
        assert_eq!(session.handle_timeout(start + Duration::from_secs(45)), Some(Duty::Refresh));
        assert_eq!(session.handle_timeout(start + Duration::from_secs(45)), None);
        assert_eq!(session.poll_timeout(), Some(start + Duration::from_secs(60)), "a third before the end");
        assert_eq!(session.handle_timeout(start + Duration::from_secs(60)), Some(Duty::Expire));
        assert_eq!(session.poll_timeout(), None);
    }

    #[test]
    fn the_other_side_waits_and_ends_the_call_32_seconds_before_the_end() {
        let start = Instant::now();
        let mut session = session(config::Refresher::Either);
        session.accept(start, &asked(true, Some(1_800), Some(Refresher::Uas)));
        assert_eq!(session.poll_timeout(), Some(start + Duration::from_secs(1_768)));
        let later = start + Duration::from_secs(1_000);
        session.answer(later, &asked(true, Some(1_800), Some(Refresher::Uac)));
        assert_eq!(session.poll_timeout(), Some(later + Duration::from_secs(1_768)), "their refresh begins it anew");
    }

    #[test]
    fn a_peer_without_timers_is_refreshed_only_where_settings_say_so() {
        let now = Instant::now();
        for (refresher, running) in
            [(config::Refresher::Either, false), (config::Refresher::Theirs, false), (config::Refresher::Ours, true)]
        {
            let mut session = session(refresher);
            session.accept(now, &Asked::default());
            assert_eq!(session.is_running(), running, "{refresher:?}");
        }
    }

    #[test]
    fn requests_within_the_session_keep_its_roles() {
        let now = Instant::now();
        let mut ours = session(config::Refresher::Either);
        ours.answer(now, &asked(true, Some(600), Some(Refresher::Uas)));
        assert_eq!(ours.request_fields()[0].1, "600;refresher=uac", "we refresh, and now we ask");
        let mut theirs = session(config::Refresher::Either);
        theirs.answer(now, &asked(true, Some(600), Some(Refresher::Uac)));
        assert_eq!(theirs.request_fields()[0].1, "600;refresher=uas");
    }

    #[test]
    fn absurd_intervals_of_a_peer_are_bounded() {
        let now = Instant::now();
        let mut short = session(config::Refresher::Either);
        short.accept(now, &asked(true, Some(0), None));
        assert_eq!(short.poll_timeout(), Some(now + Duration::from_secs(45)));
        let mut long = session(config::Refresher::Either);
        long.answer(now, &asked(true, Some(u32::MAX), None));
        assert_eq!(long.poll_timeout(), Some(now + Duration::from_secs(43_200)));
    }

    #[test]
    fn a_refused_refresh_is_tried_again_before_the_end() {
        let start = Instant::now();
        let mut session = session(config::Refresher::Either);
        session.accept(start, &asked(true, Some(600), None));
        let at = start + Duration::from_secs(300);
        assert_eq!(session.handle_timeout(at), Some(Duty::Refresh));
        session.retry(at);
        assert_eq!(session.poll_timeout(), Some(at + Duration::from_secs(134)));
        session.postpone(at, POSTPONED);
        assert_eq!(session.poll_timeout(), Some(at + POSTPONED));
    }
}
