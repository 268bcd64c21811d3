//! When a call goes over to another language, as a pure policy.

/// How sure a vendor has to be for one word of it to be enough.
pub const SURE: f32 = 0.8;
/// Words of it in a row that are enough without any confidence.
pub const TIMES: u32 = 2;

/// Decides by what the vendors hear. One per call.
#[derive(Debug)]
pub struct LanguagePolicy {
    routes: Vec<String>,
    current: String,
    heard: Option<(usize, u32)>,
}

impl LanguagePolicy {
    /// Begins in `start`; goes over to those of `routes`, which are BCP 47 tags.
    #[must_use]
    pub fn new(start: &str, routes: Vec<String>) -> Self {
        Self { routes, current: start.to_owned(), heard: None }
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
        let times = match self.heard {
            Some((before, times)) if before == route => times + 1,
            _ => 1,
        };
        self.heard = Some((route, times));
        let is_sure = confidence.is_some_and(|confidence| confidence >= SURE);
        (is_sure || times >= TIMES).then(|| self.take(route))
    }

    fn take(&mut self, route: usize) -> usize {
        self.heard = None;
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
        assert_eq!(policy.heard("en", Some(0.5)), None);
        assert_eq!(policy.heard("en", Some(0.5)), Some(3), "and back");
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
