//! What one provider is configured with for one stage, checked before it reaches an adapter.

use super::error::ProviderName;
use crate::agent::diagnostic::nearest;
use crate::base::Pii;
use std::collections::BTreeMap;
use std::time::Duration;

/// A stage of the conversation that a provider can take.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StageKind {
    /// Speech to text.
    SpeechToText,
    /// Language model.
    LanguageModel,
    /// Text to speech.
    TextToSpeech,
    /// Speech to speech, in place of the three.
    SpeechToSpeech,
}

impl StageKind {
    /// All, in the order of a turn.
    pub const ALL: [Self; 4] = [Self::SpeechToText, Self::LanguageModel, Self::TextToSpeech, Self::SpeechToSpeech];

    /// Its name in agent files, `offhook.toml`, events and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SpeechToText => "speech_to_text",
            Self::LanguageModel => "language_model",
            Self::TextToSpeech => "text_to_speech",
            Self::SpeechToSpeech => "speech_to_speech",
        }
    }
}

/// The settings of one provider for one stage. An adapter reads what it knows and refuses an option it does not.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The provider's name in configuration.
    pub name: ProviderName,
    /// The key; `None` where the vendor needs none (a server of one's own).
    pub key: Option<Pii<String>>,
    /// Base of all URLs, without a trailing slash: the vendor's own, a region's, or a server of one's own.
    pub url: String,
    /// The model.
    pub model: String,
    /// The voice, by the vendor's id; empty where the vendor needs none.
    pub voice: String,
    /// BCP 47; empty for the vendor's default.
    pub language: String,
    /// The vendor's further parameters by its own names, such as `endpointing = 300`; each adapter lists those it knows.
    pub options: BTreeMap<String, serde_json::Value>,
    /// Streams or requests at once with this key.
    pub concurrency: usize,
    /// Deadline of a connection.
    pub connect_timeout: Duration,
    /// Deadline from a request to the first word or sound of its answer.
    pub first_timeout: Duration,
    /// Deadline between two signs of progress of an answer.
    pub stall_timeout: Duration,
}

/// A provider cannot be set up as configured: the configuration's fault.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("provider {provider}: {reason}")]
pub struct SettingsError {
    /// The provider's name.
    pub provider: ProviderName,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl Settings {
    /// Where nothing else is configured.
    pub const CONCURRENCY: usize = 100;
    /// Where nothing else is configured.
    pub const FIRST_TIMEOUT: Duration = Duration::from_millis(1_400);
    /// Where nothing else is configured.
    pub const STALL_TIMEOUT: Duration = Duration::from_millis(1_400);

    /// What of `usual`, which goes with [`Self::FIRST_TIMEOUT`], these settings leave: who grants a slow server of their own
    /// more time for its first word grants it more before another is asked.
    #[must_use]
    pub fn patience(&self, usual: Duration) -> Duration {
        usual.mul_f64(self.first_timeout.as_secs_f64() / Self::FIRST_TIMEOUT.as_secs_f64())
    }

    /// The same for `usual`, which goes with [`Self::STALL_TIMEOUT`].
    #[must_use]
    pub fn lag(&self, usual: Duration) -> Duration {
        usual.mul_f64(self.stall_timeout.as_secs_f64() / Self::STALL_TIMEOUT.as_secs_f64())
    }

    /// An error about these settings.
    pub fn error(&self, reason: impl Into<String>) -> SettingsError {
        SettingsError { provider: self.name.clone(), reason: reason.into() }
    }

    /// The key, which this vendor needs.
    ///
    /// # Errors
    /// There is none.
    pub fn required_key(&self) -> Result<&Pii<String>, SettingsError> {
        self.key.as_ref().ok_or_else(|| self.error("it needs a key: give key_env, key_file or key_credential"))
    }

    /// An option as text, number or truth value turned into text; `None` when it is not given.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<String> {
        self.options.get(name).map(|value| match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// Refuses options that the adapter does not know, with the nearest it does.
    ///
    /// # Errors
    /// The first unknown one.
    pub fn only_options(&self, known: &[&str]) -> Result<(), SettingsError> {
        match self.options.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(self.error(match nearest(name, known.iter().copied()) {
                Some(near) => format!("unknown option `{name}`: write `{near}`"),
                None => format!("unknown option `{name}`; it knows: {}", known.join(", ")),
            })),
        }
    }
}
