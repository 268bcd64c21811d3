//! Language models in order.

use super::course::{self, HedgeTerms, Hedging, Leg};
use super::{Member, pick};
use crate::providers::llm::{LanguageModel, LlmCapabilities, Prompt, Thought, ThoughtStream};
use crate::providers::{Meter, ProviderError, ProviderName};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Pieces between us and the call: the model is faster than the voice.
const PIECES: usize = 64;

/// Language models in order, as one. Never empty.
pub struct SteadyLanguageModel {
    members: Arc<[Member<dyn LanguageModel>]>,
    hedging: Arc<Hedging>,
}

impl SteadyLanguageModel {
    /// The first that is well serves. `None` without any.
    #[must_use]
    pub fn new(members: Vec<Member<dyn LanguageModel>>, hedging: Arc<Hedging>) -> Option<Self> {
        (!members.is_empty()).then(|| Self { members: members.into(), hedging })
    }

    fn first(&self) -> Option<&Arc<dyn LanguageModel>> {
        self.members.first().map(|member| &member.provider)
    }
}

impl LanguageModel for SteadyLanguageModel {
    fn name(&self) -> ProviderName {
        self.first().map_or(ProviderName::Borrowed("none"), |first| first.name())
    }

    fn capabilities(&self) -> LlmCapabilities {
        self.first().map_or(LlmCapabilities { tools: false, prompt_cache: false }, |first| first.capabilities())
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        self.first().and_then(|first| first.meter())
    }

    fn warm(&self) {
        if let Some(member) = pick(&self.members, &[]).and_then(|place| self.members.get(place)) {
            member.health.abandoned();
            member.provider.warm();
        }
    }

    fn think(&self, prompt: Arc<Prompt>) -> Result<ThoughtStream, ProviderError> {
        let (sender, receiver) = mpsc::channel(PIECES);
        let asked = Asked { prompt, whole: false };
        tokio::spawn(course::run(asked, Arc::clone(&self.members), Arc::clone(&self.hedging), sender));
        Ok(receiver)
    }
}

struct Asked {
    prompt: Arc<Prompt>,
    whole: bool,
}

impl Leg for Asked {
    type Provider = dyn LanguageModel;
    type Item = Thought;

    fn start(&self, provider: &Self::Provider) -> Result<ThoughtStream, ProviderError> {
        provider.think(Arc::clone(&self.prompt))
    }

    fn name(&self, provider: &Self::Provider) -> ProviderName {
        provider.name()
    }

    fn patience(&self, provider: &Self::Provider) -> Option<Duration> {
        provider.patience()
    }

    fn hedge_after(&self, provider: &Self::Provider, terms: HedgeTerms) -> Option<Duration> {
        provider.meter()?.first_percentile(95, terms.known)
    }

    fn pass(&mut self, item: Thought) -> Thought {
        self.whole |= matches!(item, Thought::Finished { .. });
        item
    }

    /// Another model would begin another sentence: the conversation asks anew, with what was heard.
    fn may_go_on(&self) -> bool {
        false
    }

    fn is_whole(&self) -> bool {
        self.whole
    }
}
