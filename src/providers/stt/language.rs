//! When a call goes over to another language, as a pure policy.

/// How sure a vendor has to be for one word of it to be enough.
pub const SURE: f32 = 0.8;
/// Words of it in a row that are enough without any confidence; one that is sure counts as so many.
pub const TIMES: u32 = 2;
/// Changes that a call has free: there and back. Each further one takes one word more, so that a vendor in doubt, or a
/// caller with two languages, does not move the call to and fro: every change is a connection more.
pub const FREE_CHANGES: u32 = 2;
/// Words in a row that are enough after any number of changes.
pub const TIMES_MAX: u32 = 6;

/// Decides by what the vendors hear. One per call.
#[derive(Debug)]
pub struct LanguagePolicy {
    routes: Vec<String>,
    current: String,
    heard: Option<(usize, u32)>,
    changes: u32,
}

impl LanguagePolicy {
    /// Begins in `start`; goes over to those of `routes`, which are BCP 47 tags.
    #[must_use]
    pub fn new(start: &str, routes: Vec<String>) -> Self {
        Self { routes, current: start.to_owned(), heard: None, changes: 0 }
    }

    /// The language in use.
    #[must_use]
    pub fn current(&self) -> &str {
        &self.current
    }

    /// A vendor has heard a language. The place of the route to take, when it is time to.
    pub fn heard(&mut self, tag: &str, confidence: Option<f32>) -> Option<usize> {
        if is_same(tag, &self.current) {
            self.heard = None;
            return None;
        }
        let Some(route) = self.route(tag) else {
            self.heard = None;
            return None;
        };
        let weight = if confidence.is_some_and(|confidence| confidence >= SURE) { TIMES } else { 1 };
        let times = match self.heard {
            Some((before, times)) if before == route => times.saturating_add(weight),
            _ => weight,
        };
        self.heard = Some((route, times));
        let needed = (TIMES + self.changes.saturating_sub(FREE_CHANGES - 1)).min(TIMES_MAX);
        (times >= needed).then(|| self.take(route))
    }

    fn take(&mut self, route: usize) -> usize {
        self.heard = None;
        self.changes = self.changes.saturating_add(1);
        self.current = self.routes.get(route).cloned().unwrap_or_default();
        route
    }

    /// The route whose tag is the same, else the one of the same language.
    fn route(&self, tag: &str) -> Option<usize> {
        let exact = self.routes.iter().position(|route| route.eq_ignore_ascii_case(tag));
        exact.or_else(|| self.routes.iter().position(|route| is_same(route, tag)))
    }
}

/// Whether two tags name one language: by their first part, where one says no more (RFC 4647 section 3.3.1), or none of
/// the two needs more to be told apart.
fn is_same(one: &str, other: &str) -> bool {
    let primary = |tag: &str| tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    primary(one) == primary(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> LanguagePolicy {
        LanguagePolicy::new("en-US", vec!["de".into(), "fr-CA".into(), "fr-FR".into(), "en-US".into()])
    }

    #[test]
    fn a_language_is_taken_when_it_is_heard_twice_in_a_row_or_for_sure() {
        let mut policy = policy();
        assert_eq!(policy.heard("de-DE", None), None);
        assert_eq!(policy.heard("de-DE", None), Some(0));
        assert_eq!(policy.current(), "de");
        assert_eq!(policy.heard("fr-FR", Some(0.9)), Some(2), "the region counts");
    }

    #[test]
    fn there_and_back_is_free_and_each_further_change_takes_a_word_more() {
        let mut policy = policy();
        assert_eq!(policy.heard("de", Some(0.9)), Some(0));
        assert_eq!(policy.heard("en", Some(0.9)), Some(3), "and back");
        let mut words = Vec::new();
        for tag in ["de", "en"].into_iter().cycle().take(8) {
            words.push(1 + (0..TIMES_MAX).take_while(|_| policy.heard(tag, None).is_none()).count());
        }
        assert_eq!(words, [3, 4, 5, 6, 6, 6, 6, 6]);
    }

    #[test]
    fn a_vendor_that_hears_two_languages_in_turn_is_left_where_it_is() {
        let mut policy = policy();
        assert_eq!(policy.heard("de", Some(0.99)), Some(0));
        assert_eq!(policy.heard("en", Some(0.99)), Some(3));
        let taken = ["de", "en"].into_iter().cycle().take(100).filter(|tag| policy.heard(tag, Some(0.99)).is_some());
        assert_eq!((taken.count(), policy.current()), (0, "en-US"));
    }

    #[test]
    fn a_word_of_the_present_language_or_of_none_begins_the_count_again() {
        let mut policy = policy();
        for between in ["en-GB", "ja"] {
            assert_eq!(policy.heard("de", Some(0.3)), None);
            assert_eq!(policy.heard(between, Some(0.99)), None);
        }
        assert_eq!(policy.heard("de", None), None);
        assert_eq!(policy.heard("fr", None), None, "another one");
        assert_eq!(policy.heard("de", None), None);
        assert_eq!(policy.current(), "en-US");
    }
}
