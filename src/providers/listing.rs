//! What there is to be told of providers: where a key was looked for, what stands for a name, what has been used.

use super::catalogue::{self, Offer, Sunset, offer};
use super::meter::{Meter, Reading};
use super::registry::{LOCAL, Registry};
use super::resilience::{HealthState, Member};
use super::settings::StageKind;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Where a provider's key comes from. Never the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyState {
    /// The configuration names it.
    Configured,
    /// The vendor's own environment variable.
    Environment(&'static str),
    /// Nowhere; this variable was looked at.
    Missing(&'static str),
    /// The vendor needs none.
    NotNeeded,
}

/// A name at one stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// As agent files call it.
    pub name: String,
    /// [`Offer::vendor`].
    pub vendor: String,
    /// [`Offer::title`].
    pub title: &'static str,
    /// The stage.
    pub stage: StageKind,
    /// The model in use.
    pub model: String,
    /// The voice in use; empty where there is none.
    pub voice: String,
    /// Base of its URLs; empty where one has to be configured.
    pub url: String,
    /// Its key.
    pub key: KeyState,
    /// The end of its model, if it has one.
    pub sunset: Option<&'static Sunset>,
}

/// What a provider has done since the start.
#[derive(Clone, Debug)]
pub struct Used {
    /// The stage.
    pub stage: StageKind,
    /// Its name, with what an agent sets for itself alone.
    pub name: String,
    /// Whether it takes requests.
    pub health: HealthState,
    /// Its counters; `None` for engines that count elsewhere.
    pub reading: Option<Reading>,
    /// Frames of audio that changed their rate.
    pub resampled: u64,
    /// Frames of audio that went as they were.
    pub passed: u64,
}

struct Facts {
    title: &'static str,
    key_variable: &'static str,
    needs_key: bool,
    url: &'static str,
    model: &'static str,
    voice: &'static str,
}

fn facts(stage: StageKind, vendor: &str) -> Option<Facts> {
    fn of<P: ?Sized>(offers: &'static [Offer<P>], vendor: &str) -> Option<Facts> {
        let offer = offer(offers, vendor)?;
        let Offer { title, key_variable, url, model, voice, .. } = *offer;
        Some(Facts { title, key_variable, needs_key: offer.needs_key(), url, model, voice })
    }
    match stage {
        StageKind::SpeechToText => of(catalogue::STT, vendor),
        StageKind::LanguageModel => of(catalogue::LLM, vendor),
        StageKind::TextToSpeech => of(catalogue::TTS, vendor),
        StageKind::SpeechToSpeech => of(catalogue::REALTIME, vendor),
    }
}

/// The vendors of a stage, in the order of the catalogue.
#[must_use]
pub fn vendors(stage: StageKind) -> Vec<&'static str> {
    match stage {
        StageKind::SpeechToText => catalogue::STT.iter().map(|offer| offer.vendor).collect(),
        StageKind::LanguageModel => catalogue::LLM.iter().map(|offer| offer.vendor).collect(),
        StageKind::TextToSpeech => catalogue::TTS.iter().map(|offer| offer.vendor).collect(),
        StageKind::SpeechToSpeech => catalogue::REALTIME.iter().map(|offer| offer.vendor).collect(),
    }
}

impl Registry {
    /// What a name stands for at a stage; `None` when it stands for nothing there.
    #[must_use]
    pub fn listing(&self, stage: StageKind, name: &str) -> Option<Listing> {
        if name == LOCAL {
            let title = match stage {
                StageKind::SpeechToText => "Moonshine on this machine, English",
                StageKind::TextToSpeech => "Hibari on this machine, English",
                StageKind::LanguageModel | StageKind::SpeechToSpeech => return None,
            };
            return Some(Listing {
                name: name.to_owned(),
                vendor: LOCAL.to_owned(),
                title,
                stage,
                model: String::new(),
                voice: String::new(),
                url: String::new(),
                key: KeyState::NotNeeded,
                sunset: None,
            });
        }
        let spec = self.specs.get(name);
        let vendor = spec.map_or(name, |spec| spec.vendor.as_str());
        let facts = facts(stage, vendor)?;
        let of_stage = spec.and_then(|spec| spec.stages.get(&stage));
        let chosen = |own: Option<&String>, usual: &str| own.cloned().unwrap_or_else(|| usual.to_owned());
        let variable = facts.key_variable;
        let key = if spec.is_some_and(|spec| spec.key.is_some()) {
            KeyState::Configured
        } else if variable.is_empty() {
            KeyState::NotNeeded
        } else if (self.environment)(variable).is_some_and(|key| !key.is_empty()) {
            KeyState::Environment(variable)
        } else if facts.needs_key {
            KeyState::Missing(variable)
        } else {
            KeyState::NotNeeded
        };
        let model = chosen(of_stage.and_then(|own| own.model.as_ref()), facts.model);
        let url = of_stage.and_then(|own| own.url.as_ref()).or_else(|| spec.and_then(|spec| spec.url.as_ref()));
        Some(Listing {
            name: name.to_owned(),
            vendor: vendor.to_owned(),
            title: facts.title,
            stage,
            voice: chosen(of_stage.and_then(|own| own.voice.as_ref()), facts.voice),
            url: chosen(url, facts.url),
            key,
            sunset: catalogue::sunset(vendor, &model),
            model,
        })
    }

    /// Every provider that has been made, by stage and name.
    #[must_use]
    pub fn used(&self) -> Vec<Used> {
        let mut all = used(StageKind::SpeechToText, &self.stt, |provider| provider.meter());
        all.extend(used(StageKind::LanguageModel, &self.llm, |provider| provider.meter()));
        all.extend(used(StageKind::TextToSpeech, &self.tts, |provider| provider.meter()));
        all.extend(used(StageKind::SpeechToSpeech, &self.realtime, |provider| provider.meter()));
        all
    }
}

fn used<P: ?Sized>(
    stage: StageKind,
    made: &Mutex<HashMap<String, Member<P>>>,
    meter: impl Fn(&P) -> Option<Arc<Meter>>,
) -> Vec<Used> {
    let made = made.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all: Vec<Used> = made
        .iter()
        .map(|(name, member)| {
            let meter = meter(&member.provider);
            Used {
                stage,
                name: name.clone(),
                health: member.health.state(),
                reading: meter.as_ref().map(|meter| meter.read()),
                resampled: meter.as_ref().map_or(0, |meter| meter.conversions.resampled()),
                passed: meter.as_ref().map_or(0, |meter| meter.conversions.passed()),
            }
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}
