//! Deepgram's key terms in the middle of a stream, by `Configure` (AsyncAPI of deepgram-api-specs, 2026-07; both of its
//! interfaces know it).
//!
//! One request at a time: the vendor refuses a second one before it has answered the first. A list takes the place of the
//! one before, so the configured terms are said again with what is expected.

use super::deepgram::EXPECTED;
use super::message::text;
use crate::providers::wire::Outbox;
use crate::providers::{ProviderName, Settings, SettingsError};
use serde_json::{Value, json};

/// Most terms of a list. The vendor counts 500 tokens, of which a term has a few.
const TERMS: usize = 100;
/// The code of a model that takes no key terms within a stream.
const UNSUPPORTED: &str = "CONFIGURE_KEYTERMS_NOT_SUPPORTED";

/// The key terms of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Keyterms {
    /// The settings'.
    configured: Vec<String>,
    is_on: bool,
    /// The list that is to be in force, once it is another than the one at the start.
    wanted: Option<Vec<String>>,
    /// The vendor has yet to answer.
    pending: bool,
}

impl Keyterms {
    /// From the settings, which may say whether what is expected is told at all.
    pub(super) fn of(settings: &Settings, usually: bool) -> Result<Self, SettingsError> {
        let is_on = settings.options.get(EXPECTED).map_or(Some(usually), Value::as_bool);
        let is_on = is_on.ok_or_else(|| settings.error(format!("{EXPECTED} is true or false")))?;
        let configured = match settings.options.get("keyterm") {
            Some(Value::Array(terms)) => terms.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(term)) => vec![term.clone()],
            _ => Vec::new(),
        };
        Ok(Self { configured, is_on, wanted: None, pending: false })
    }

    /// These are expected from here on.
    pub(super) fn expect(&mut self, phrases: &[String], out: &mut Outbox) {
        if !self.is_on {
            return;
        }
        let mut terms = self.configured.clone();
        terms.extend(phrases.iter().filter(|phrase| !self.configured.contains(phrase)).cloned());
        terms.truncate(TERMS);
        self.wanted = Some(terms);
        self.send(out);
    }

    /// The vendor has answered. Where its model takes none, it is not asked again on this connection; a list that it
    /// refuses for another reason is passed over. Words are heard without.
    pub(super) fn answered(&mut self, provider: &ProviderName, kind: &str, message: &Value, out: &mut Outbox) {
        self.pending = false;
        if kind == "ConfigureFailure" {
            let code = text(message, "/code");
            tracing::info!(%provider, code, "provider_refuses_key_terms");
            if code == UNSUPPORTED {
                (self.is_on, self.wanted) = (false, None);
            }
        }
        self.send(out);
    }

    fn send(&mut self, out: &mut Outbox) {
        if self.pending {
            return;
        }
        if let Some(terms) = self.wanted.take() {
            self.pending = true;
            out.json(&json!({"type": "Configure", "keyterms": terms}));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::stt::query::tests::settings;
    use crate::providers::wire::Frame;

    fn sent(out: &mut Outbox) -> Option<Value> {
        match out.next_frame()? {
            Frame::Text(text) => serde_json::from_str::<Value>(&text).ok().map(|message| message["keyterms"].clone()),
            Frame::Binary(_) => None,
        }
    }

    fn expect(terms: &mut Keyterms, phrases: &[&str], out: &mut Outbox) {
        let phrases: Vec<String> = phrases.iter().map(|phrase| (*phrase).to_owned()).collect();
        terms.expect(&phrases, out);
    }

    #[test]
    fn a_request_waits_for_the_answer_to_the_one_before_and_only_the_last_one_counts() {
        let mut terms = Keyterms::of(&settings(&[("keyterm", json!(["Lindenhof"]))]), true).expect("good settings");
        let (mut out, vendor) = (Outbox::default(), ProviderName::Borrowed("deepgram"));
        expect(&mut terms, &["window"], &mut out);
        assert_eq!(sent(&mut out), Some(json!(["Lindenhof", "window"])));
        expect(&mut terms, &["aisle"], &mut out);
        expect(&mut terms, &["Monday", "Lindenhof"], &mut out);
        assert_eq!(sent(&mut out), None, "nothing before the answer");
        terms.answered(&vendor, "ConfigureSuccess", &json!({}), &mut out);
        assert_eq!(sent(&mut out), Some(json!(["Lindenhof", "Monday"])));
        terms.answered(&vendor, "ConfigureSuccess", &json!({}), &mut out);
        assert_eq!(sent(&mut out), None);
        expect(&mut terms, &[], &mut out);
        assert_eq!(sent(&mut out), Some(json!(["Lindenhof"])), "what is expected no more is taken back");
    }

    #[test]
    fn a_vendor_that_refuses_is_not_asked_again_and_one_that_is_off_never() {
        let mut terms = Keyterms::of(&settings(&[]), true).expect("good settings");
        let (mut out, vendor) = (Outbox::default(), ProviderName::Borrowed("deepgram"));
        expect(&mut terms, &["window"], &mut out);
        assert!(sent(&mut out).is_some());
        expect(&mut terms, &["aisle"], &mut out);
        let refusal = |code: &str| json!({"code": code});
        terms.answered(&vendor, "ConfigureFailure", &refusal("CONFIGURE_KEYTERM_LIMIT_EXCEEDED"), &mut out);
        assert_eq!(sent(&mut out), Some(json!(["aisle"])), "one list too long says nothing of the next");
        terms.answered(&vendor, "ConfigureFailure", &refusal(UNSUPPORTED), &mut out);
        expect(&mut terms, &["Monday"], &mut out);
        assert_eq!(sent(&mut out), None);
        let mut off = Keyterms::of(&settings(&[(EXPECTED, json!(false))]), true).expect("good settings");
        expect(&mut off, &["window"], &mut out);
        assert_eq!(sent(&mut out), None);
        assert!(Keyterms::of(&settings(&[(EXPECTED, json!("yes"))]), true).is_err());
    }
}
