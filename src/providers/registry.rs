//! From names in agent files to providers: what `[[provider]]` configures, what the catalogue knows, the offline engines.
//! One registry per process; a provider is made once, and its health is one for all calls.

use super::catalogue::{self, Offer, offer};
use super::error::ProviderName;
use super::resilience::{
    Health, Hedging, Member, SteadyLanguageModel, SteadySpeechToSpeech, SteadySpeechToText, SteadyTextToSpeech,
};
use super::settings::{Settings, SettingsError, StageKind};
use super::stt::router::{LanguageRoute, LanguageRouter};
use super::tts::phrase_cache::{CachedTts, PhraseCache};
use super::{LanguageModel, Network, SpeechToSpeech, SpeechToText, TextToSpeech};
use crate::base::Pii;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The name of the offline engines; they need no configuration.
pub const LOCAL: &str = "local";
/// What vendors call several languages at once, in place of a tag of BCP 47.
pub const ANY_LANGUAGE: &str = "multi";

/// One provider as it is configured. Absent values are the vendor's in the catalogue.
#[derive(Clone, Debug)]
pub struct ProviderSpec {
    /// The name agent files call it by.
    pub name: String,
    /// [`Offer::vendor`].
    pub vendor: String,
    /// The key; `None` looks into the vendor's own environment variable.
    pub key: Option<Pii<String>>,
    /// Base of its URLs for every stage.
    pub url: Option<String>,
    /// Streams or requests at once.
    pub concurrency: Option<usize>,
    /// See [`Settings::connect_timeout`].
    pub connect_timeout: Option<Duration>,
    /// See [`Settings::first_timeout`].
    pub first_timeout: Option<Duration>,
    /// See [`Settings::stall_timeout`].
    pub stall_timeout: Option<Duration>,
    /// What differs by stage.
    pub stages: BTreeMap<StageKind, StageSpec>,
}

/// The part of a provider for one stage.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct StageSpec {
    /// Base of its URLs.
    pub url: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The voice.
    pub voice: Option<String>,
    /// BCP 47.
    pub language: Option<String>,
    /// The vendor's further parameters.
    pub options: BTreeMap<String, serde_json::Value>,
}

impl ProviderSpec {
    /// A vendor with everything left to the catalogue.
    #[must_use]
    pub fn of_vendor(vendor: &str) -> Self {
        Self {
            name: vendor.to_owned(),
            vendor: vendor.to_owned(),
            key: None,
            url: None,
            concurrency: None,
            connect_timeout: None,
            first_timeout: None,
            stall_timeout: None,
            stages: BTreeMap::new(),
        }
    }

    fn stage(&self, stage: StageKind) -> StageSpec {
        self.stages.get(&stage).cloned().unwrap_or_default()
    }
}

/// The offline engines, where they are loaded.
#[derive(Clone, Default)]
pub struct Local {
    /// Speech to text.
    pub stt: Option<Arc<dyn SpeechToText>>,
    /// Text to speech.
    pub tts: Option<Arc<dyn TextToSpeech>>,
}

/// Looks up a variable of the environment.
pub type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;
type Made<P> = Mutex<HashMap<String, Member<P>>>;

/// See the module.
pub struct Registry {
    pub(super) specs: BTreeMap<String, ProviderSpec>,
    network: Network,
    pub(super) environment: Environment,
    local: Local,
    health: Mutex<HashMap<(StageKind, String), Arc<Health>>>,
    pub(super) stt: Made<dyn SpeechToText>,
    pub(super) llm: Made<dyn LanguageModel>,
    pub(super) tts: Made<dyn TextToSpeech>,
    pub(super) realtime: Made<dyn SpeechToSpeech>,
    thinking: Arc<Hedging>,
    speaking: Arc<Hedging>,
    phrases: Option<Arc<PhraseCache>>,
}

impl Registry {
    /// With the configured providers; `environment` looks up keys that the configuration leaves to the vendors' own
    /// variables.
    #[must_use]
    pub fn new(specs: Vec<ProviderSpec>, network: Network, environment: Environment, local: Local) -> Self {
        Self {
            specs: specs.into_iter().map(|spec| (spec.name.clone(), spec)).collect(),
            network,
            environment,
            local,
            health: Mutex::default(),
            stt: Mutex::default(),
            llm: Mutex::default(),
            tts: Mutex::default(),
            realtime: Mutex::default(),
            thinking: Arc::default(),
            speaking: Arc::default(),
            phrases: None,
        }
    }

    /// Keeps the audio of fixed lines there.
    #[must_use]
    pub fn with_phrases(self, phrases: Arc<PhraseCache>) -> Self {
        Self { phrases: Some(phrases), ..self }
    }

    /// Speech-to-text providers in order, as one.
    ///
    /// # Errors
    /// A name that stands for nothing, or settings that its vendor refuses.
    pub fn speech_to_text(&self, names: &[String]) -> Result<Arc<dyn SpeechToText>, SettingsError> {
        let stage = StageKind::SpeechToText;
        let local = self.local.stt.clone();
        let members = self.members(stage, catalogue::STT, &self.stt, names, local, &[])?;
        match members.as_slice() {
            // The offline engine alone needs nobody to watch over it.
            [only] if *names == [LOCAL] => Ok(Arc::clone(&only.provider)),
            _ => SteadySpeechToText::new(members).map(|steady| Arc::new(steady) as _).ok_or_else(|| none(stage)),
        }
    }

    /// Speech to text that begins with `names` and goes over to the providers of the language that is heard. `language` is
    /// what the first ones are opened with, `home` the language they are for where that names none.
    ///
    /// # Errors
    /// As [`Self::speech_to_text`].
    pub fn speech_to_text_by_language(
        &self,
        names: &[String],
        language: Option<&str>,
        home: &str,
        languages: &BTreeMap<String, Vec<String>>,
    ) -> Result<Arc<dyn SpeechToText>, SettingsError> {
        let provider = self.speech_to_text(names)?;
        if languages.is_empty() {
            return Ok(provider);
        }
        let route = |(language, names): (&String, &Vec<String>)| {
            let provider = self.speech_to_text(names)?;
            Ok(LanguageRoute { language: language.clone(), opened_with: Some(language.clone()), provider })
        };
        let routes = languages.iter().map(route).collect::<Result<Vec<_>, SettingsError>>()?;
        let start = LanguageRoute {
            language: language.filter(|language| *language != ANY_LANGUAGE).unwrap_or(home).to_owned(),
            opened_with: language.map(str::to_owned),
            provider,
        };
        Ok(Arc::new(LanguageRouter::new(start, routes)))
    }

    /// Language models in order, as one.
    ///
    /// # Errors
    /// As [`Self::speech_to_text`].
    pub fn language_model(
        &self,
        names: &[String],
        temperature: Option<f32>,
    ) -> Result<Arc<dyn LanguageModel>, SettingsError> {
        let stage = StageKind::LanguageModel;
        let extra: Vec<_> = temperature.map(|t| ("temperature", serde_json::Value::from(t))).into_iter().collect();
        let members = self.members(stage, catalogue::LLM, &self.llm, names, None, &extra)?;
        let steady = SteadyLanguageModel::new(members, Arc::clone(&self.thinking));
        steady.map(|steady| Arc::new(steady) as _).ok_or_else(|| none(stage))
    }

    /// Voices in order, as one.
    ///
    /// # Errors
    /// As [`Self::speech_to_text`].
    pub fn text_to_speech(&self, names: &[String]) -> Result<Arc<dyn TextToSpeech>, SettingsError> {
        let stage = StageKind::TextToSpeech;
        let local = self.local.tts.clone();
        let members = self.members(stage, catalogue::TTS, &self.tts, names, local, &[])?;
        let members = self.with_cache(names, members)?;
        let steady = || SteadyTextToSpeech::new(members.clone(), Arc::clone(&self.speaking));
        single(&members).map_or_else(|| steady().map(|steady| Arc::new(steady) as _).ok_or_else(|| none(stage)), Ok)
    }

    /// The cache in front of each vendor's voice; the offline voice costs nothing and stays bare.
    fn with_cache(
        &self,
        names: &[String],
        mut members: Vec<Member<dyn TextToSpeech>>,
    ) -> Result<Vec<Member<dyn TextToSpeech>>, SettingsError> {
        let Some(phrases) = &self.phrases else { return Ok(members) };
        for (member, name) in members.iter_mut().zip(names).filter(|(_, name)| *name != LOCAL) {
            let settings = self.settings(StageKind::TextToSpeech, catalogue::TTS, name, &[])?;
            let vendor = self.specs.get(name).map_or(name.as_str(), |spec| spec.vendor.as_str());
            let inner = Arc::clone(&member.provider);
            member.provider = Arc::new(CachedTts::new(inner, Arc::clone(phrases), vendor, &settings));
        }
        Ok(members)
    }

    /// Speech-to-speech providers in order, as one.
    ///
    /// # Errors
    /// As [`Self::speech_to_text`].
    pub fn speech_to_speech(&self, names: &[String]) -> Result<Arc<dyn SpeechToSpeech>, SettingsError> {
        let stage = StageKind::SpeechToSpeech;
        let members = self.members(stage, catalogue::REALTIME, &self.realtime, names, None, &[])?;
        SteadySpeechToSpeech::new(members).map(|steady| Arc::new(steady) as _).ok_or_else(|| none(stage))
    }

    /// One provider by name, without others after it: for probes and listings.
    ///
    /// # Errors
    /// As [`Self::speech_to_text`].
    pub fn probe(&self, stage: StageKind, name: &str) -> Result<Probed, SettingsError> {
        let names = [name.to_owned()];
        let only = |error| move || none(error);
        Ok(match stage {
            StageKind::SpeechToText => {
                let local = self.local.stt.clone();
                let members = self.members(stage, catalogue::STT, &self.stt, &names, local, &[])?;
                Probed::Stt(members.into_iter().next().ok_or_else(only(stage))?)
            }
            StageKind::LanguageModel => {
                let members = self.members(stage, catalogue::LLM, &self.llm, &names, None, &[])?;
                Probed::Llm(members.into_iter().next().ok_or_else(only(stage))?)
            }
            StageKind::TextToSpeech => {
                let local = self.local.tts.clone();
                let members = self.members(stage, catalogue::TTS, &self.tts, &names, local, &[])?;
                Probed::Tts(members.into_iter().next().ok_or_else(only(stage))?)
            }
            StageKind::SpeechToSpeech => {
                let members = self.members(stage, catalogue::REALTIME, &self.realtime, &names, None, &[])?;
                Probed::Realtime(members.into_iter().next().ok_or_else(only(stage))?)
            }
        })
    }

    /// The way out, as its providers take it.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The configured providers, by name.
    pub fn specs(&self) -> impl Iterator<Item = &ProviderSpec> {
        self.specs.values()
    }

    fn members<P: ?Sized>(
        &self,
        stage: StageKind,
        offers: &'static [Offer<P>],
        made: &Made<P>,
        names: &[String],
        local: Option<Arc<P>>,
        extra: &[(&str, serde_json::Value)],
    ) -> Result<Vec<Member<P>>, SettingsError> {
        names.iter().map(|name| self.member(stage, offers, made, name, local.as_ref(), extra)).collect()
    }

    fn member<P: ?Sized>(
        &self,
        stage: StageKind,
        offers: &'static [Offer<P>],
        made: &Made<P>,
        name: &str,
        local: Option<&Arc<P>>,
        extra: &[(&str, serde_json::Value)],
    ) -> Result<Member<P>, SettingsError> {
        let key = extra.iter().fold(name.to_owned(), |key, (option, value)| format!("{key} {option}={value}"));
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = made.get(&key) {
            return Ok(member.clone());
        }
        let provider = match (name, local) {
            (LOCAL, Some(local)) => Arc::clone(local),
            (LOCAL, None) if matches!(stage, StageKind::SpeechToText | StageKind::TextToSpeech) => {
                let reason = "the offline engine is not loaded here".to_owned();
                return Err(SettingsError { provider: ProviderName::Borrowed(LOCAL), reason });
            }
            _ => {
                let settings = self.settings(stage, offers, name, extra)?;
                let vendor = self.specs.get(name).map_or(name, |spec| spec.vendor.as_str());
                let offer = offer(offers, vendor).ok_or_else(|| unknown(stage, offers, name))?;
                (offer.build)(&settings, &self.network)?
            }
        };
        let member = Member { provider, health: self.health(stage, name) };
        made.insert(key, member.clone());
        Ok(member)
    }

    fn settings<P: ?Sized>(
        &self,
        stage: StageKind,
        offers: &'static [Offer<P>],
        name: &str,
        extra: &[(&str, serde_json::Value)],
    ) -> Result<Settings, SettingsError> {
        let spec = self.specs.get(name).cloned().unwrap_or_else(|| ProviderSpec::of_vendor(name));
        let offer = offer(offers, &spec.vendor).ok_or_else(|| unknown(stage, offers, name))?;
        let of_stage = spec.stage(stage);
        let error = |reason: String| SettingsError { provider: ProviderName::Owned(name.to_owned()), reason };
        let key = spec.key.clone().or_else(|| {
            let variable = Some(offer.key_variable).filter(|variable| !variable.is_empty())?;
            (self.environment)(variable).filter(|key| !key.is_empty()).map(Pii::new)
        });
        if key.is_none() && offer.needs_key() {
            return Err(error(format!(
                "there is no key: set the environment variable {}, or write a [[provider]] with key_env or key_file",
                offer.key_variable
            )));
        }
        let url = of_stage.url.or_else(|| spec.url.clone()).unwrap_or_else(|| offer.url.to_owned());
        if url.is_empty() {
            return Err(error("it has no address for everybody, but a region's or a server's of one's own: give its `url` in a [[provider]]".into()));
        }
        let mut options = of_stage.options;
        for (option, value) in extra {
            if offer.options.contains(option) {
                options.entry((*option).to_owned()).or_insert_with(|| value.clone());
            } else {
                return Err(error(format!("{} takes no `{option}`", offer.title)));
            }
        }
        let model = of_stage.model.unwrap_or_else(|| offer.model.to_owned());
        let language = of_stage.language.unwrap_or_default();
        if let Some(tongue) = catalogue::tongue(&spec.vendor, &model)
            && !language.is_empty()
            && !catalogue::has_language(tongue.languages, &language)
        {
            return Err(error(lacks(&model, tongue.languages, &language, tongue.instead)));
        }
        Ok(Settings {
            name: ProviderName::Owned(name.to_owned()),
            key,
            url: url.trim_end_matches('/').to_owned(),
            model,
            voice: of_stage.voice.unwrap_or_else(|| offer.voice.to_owned()),
            language,
            options,
            concurrency: spec.concurrency.unwrap_or(Settings::CONCURRENCY),
            connect_timeout: spec.connect_timeout.unwrap_or(super::limits::CONNECT_TIMEOUT),
            first_timeout: spec.first_timeout.unwrap_or(Settings::FIRST_TIMEOUT),
            stall_timeout: spec.stall_timeout.unwrap_or(Settings::STALL_TIMEOUT),
        })
    }

    fn health(&self, stage: StageKind, name: &str) -> Arc<Health> {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(health.entry((stage, name.to_owned())).or_default())
    }
}

/// One provider with its health.
pub enum Probed {
    /// Speech to text.
    Stt(Member<dyn SpeechToText>),
    /// A language model.
    Llm(Member<dyn LanguageModel>),
    /// Text to speech.
    Tts(Member<dyn TextToSpeech>),
    /// Speech to speech.
    Realtime(Member<dyn SpeechToSpeech>),
}

/// That a model has no such language, and what would do.
#[must_use]
pub fn lacks(model: &str, languages: &[&str], language: &str, instead: &str) -> String {
    let known = languages.join(", ");
    match instead {
        "" => {
            format!("{model} has no `{language}`: it knows {known}; name another `model`, or `language = \"{known}\"`")
        }
        instead => format!("{model} has no `{language}`: it knows {known}; set `model = \"{instead}\"`"),
    }
}

/// A voice that nobody stands behind: what it cannot say, the call says by itself.
fn single<P: ?Sized>(members: &[Member<P>]) -> Option<Arc<P>> {
    match members {
        [only] => Some(Arc::clone(&only.provider)),
        _ => None,
    }
}

fn none(stage: StageKind) -> SettingsError {
    SettingsError { provider: ProviderName::Borrowed(stage.name()), reason: "no provider is named".into() }
}

fn unknown<P: ?Sized>(stage: StageKind, offers: &'static [Offer<P>], name: &str) -> SettingsError {
    let offline = matches!(stage, StageKind::SpeechToText | StageKind::TextToSpeech).then_some(LOCAL);
    let known: Vec<&str> = offline.into_iter().chain(offers.iter().map(|offer| offer.vendor)).collect();
    SettingsError {
        provider: ProviderName::Owned(name.to_owned()),
        reason: format!(
            "it does no {}: name a [[provider]] of offhook.toml or one of: {}",
            stage.name().replace('_', " "),
            known.join(", ")
        ),
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
