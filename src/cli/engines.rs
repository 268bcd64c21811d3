//! Loads the offline engines with progress on the screen, picks every agent's providers, and makes agents with their tools.

use super::speech_check;
use crate::agent::Agent;
use crate::agent::speech::{LOCAL, SpeechChoice};
use crate::base::Random;
use crate::call::bot::{BotSetup, BotSurroundings};
use crate::call::{AgentSetup, Engines, Program};
use crate::config::Providers;
use crate::providers::local::LocalEngines;
use crate::providers::local::models::{Models, Parts, Surroundings};
use crate::providers::local::pool::PoolConfig;
use crate::providers::registry::{Local, Registry};
use crate::providers::tts::phrase_cache::PhraseCache;
use crate::providers::{Network, SettingsError, SpeechToText, StageKind, TextToSpeech};
use crate::tools::{CallBudget, Egress, EgressPolicy, HttpTools, SystemResolver, ToolSet};
use crate::turn::TurnSettings;
use jiff::tz::TimeZone;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pace of the voice.
const SPEED: f32 = 1.0;
/// Longest wait for the spare line at the start: a vendor that is down must not keep the server from calls.
const SPARE_LINE_WAIT: Duration = Duration::from_secs(5);

/// Everything that agents' engines are picked from.
pub(super) struct Sources {
    /// Intents and voice activity, and the offline engines that some agent names; `None` where no agent needs any.
    local: Option<LocalEngines>,
    /// The providers.
    pub(super) registry: Arc<Registry>,
}

/// What of the offline engines these agents need; `None` for nothing at all.
pub(super) fn parts<'a>(agents: impl Iterator<Item = &'a Agent>) -> Option<Parts> {
    let mut needed: Option<Parts> = None;
    for agent in agents {
        let names = |wanted: StageKind| agent.speech.named().any(|(s, name)| s == wanted.name() && name == LOCAL);
        let (stt, tts) = (names(StageKind::SpeechToText), names(StageKind::TextToSpeech));
        if agent.bridge.is_none() {
            let before = needed.unwrap_or(Parts { stt: false, tts: false });
            needed = Some(Parts { stt: before.stt || stt, tts: before.tts || tts });
        } else if BotSetup::needs_voice(agent) && tts {
            let before = needed.unwrap_or(Parts { stt: false, tts: false });
            needed = Some(Parts { tts: true, ..before });
        }
    }
    needed
}

/// The registry of a configuration. Opens no connection.
///
/// # Errors
/// One sentence: the certificates of the house cannot be read or used.
pub(super) fn registry(providers: &Providers, local: Local) -> Result<Registry, String> {
    let roots = match &providers.ca_file {
        Some(file) => std::fs::read(file).map_err(|e| format!("[providers] ca_file {}: {e}", file.display()))?,
        None => Vec::new(),
    };
    let network = Network::new(&roots).map_err(|e| format!("[providers]: {e}"))?;
    let environment = Box::new(|name: &str| std::env::var(name).ok());
    let registry = Registry::new(providers.accounts.clone(), network, environment, local);
    let Some(phrases) = &providers.phrases else { return Ok(registry) };
    let cache = PhraseCache::open(&phrases.directory, phrases.octets)
        .map_err(|e| format!("[providers] phrases {}: {e}", phrases.directory.display()))?;
    Ok(registry.with_phrases(Arc::new(cache)))
}

/// Loads the offline engines that are needed from the models directory. `say` gets one line per step.
///
/// # Errors
/// One sentence with the fix.
pub(super) fn load(
    providers: &Providers,
    models: Option<PathBuf>,
    parts: Option<Parts>,
    pool: PoolConfig,
    mut say: impl FnMut(&str),
) -> Result<Sources, String> {
    let mut local = None;
    if let Some(parts) = parts {
        let started = Instant::now();
        let directory = Surroundings::of_process().models_directory(models.as_deref());
        let models = Models::open_parts(&directory, parts).map_err(|e| e.to_string())?;
        let loaded = LocalEngines::load_parts(&models, parts, pool, |step| {
            say(&format!("{} loaded in {} ms", step.engine, step.took.as_millis()));
        });
        local = Some(loaded.map_err(|e| e.to_string())?);
        say(&format!("offline engines ready in {:.1} s", started.elapsed().as_secs_f64()));
    }
    let voices = local.as_ref().map_or_else(Local::default, |l: &LocalEngines| Local { stt: l.stt(), tts: l.tts() });
    Ok(Sources { registry: Arc::new(registry(providers, voices)?), local })
}

impl Sources {
    /// The engines of one agent, as its file names them.
    ///
    /// # Errors
    /// One sentence per name that stands for nothing, or whose settings its vendor refuses.
    pub(super) fn engines(&self, agent: &Agent) -> Result<Engines, String> {
        let local = self.local.as_ref().ok_or("no offline engines are loaded for intents and voice activity")?;
        let SpeechChoice { llm, tts, realtime, .. } = &agent.speech;
        let wrong = |stage: StageKind| move |error: SettingsError| format!("{}: {error}", stage.name());
        let llm = llm.as_ref().map(|llm| self.registry.language_model(&llm.providers, llm.temperature));
        let realtime = realtime.as_ref().map(|realtime| self.registry.speech_to_speech(&realtime.providers));
        Ok(Engines {
            stt: self.ears(agent).map_err(wrong(StageKind::SpeechToText))?,
            tts: self.registry.text_to_speech(&tts.providers).map_err(wrong(StageKind::TextToSpeech))?,
            llm: llm.transpose().map_err(wrong(StageKind::LanguageModel))?,
            realtime: realtime.transpose().map_err(wrong(StageKind::SpeechToSpeech))?,
            embedder: local.embedder(),
            voice: Arc::new(local.voice().clone()),
            exemplars: Arc::default(),
        })
    }

    fn ears(&self, agent: &Agent) -> Result<Arc<dyn SpeechToText>, SettingsError> {
        let choice = &agent.speech.stt;
        let (names, language) = (&choice.providers, choice.language.as_deref());
        self.registry.speech_to_text_by_language(names, language, &agent.language, &choice.languages)
    }

    /// The voice of a bot's agent: `None` where it needs none and the offline one is not loaded.
    ///
    /// # Errors
    /// As [`Self::engines`].
    fn voice(&self, agent: &Agent) -> Result<Option<Arc<dyn TextToSpeech>>, String> {
        let names = &agent.speech.tts.providers;
        match self.registry.text_to_speech(names) {
            Ok(tts) => Ok(Some(tts)),
            Err(_) if !BotSetup::needs_voice(agent) && names.iter().all(|name| name == LOCAL) => Ok(None),
            Err(error) => Err(format!("{}: {error}", StageKind::TextToSpeech.name())),
        }
    }

    /// Languages that an agent wants of providers that do not have them: a sentence each.
    pub(super) fn missing_languages(&self, agent: &Agent) -> Vec<String> {
        speech_check::missing_languages(agent, &self.registry)
    }

    /// Models that an agent uses and that their vendors will withdraw: a sentence each.
    pub(super) fn sunsets(&self, agent: &Agent) -> Vec<String> {
        speech_check::sunsets(&agent.speech, &self.registry)
    }
}

/// Makes an agent ready to take calls. Where its voice is down at that moment, a tone stands in for the spare line.
///
/// # Errors
/// One sentence per problem.
pub(super) async fn prepare(
    agent: Arc<Agent>,
    engines: &Engines,
    policy: EgressPolicy,
    budget: CallBudget,
    extra_roots: &[u8],
) -> Result<Arc<AgentSetup>, String> {
    let environment = |name: &str| std::env::var(name).ok();
    let tool_set = ToolSet::new(&agent.tools, &policy, &environment)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let egress = Egress::new(policy, Arc::new(SystemResolver), extra_roots).map_err(|e| e.to_string())?;
    let synthesis = AgentSetup::synthesise_spare_line(&agent, engines, SPEED);
    let reason = match tokio::time::timeout(SPARE_LINE_WAIT, synthesis).await {
        Ok(Ok(samples)) => Ok(samples),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no whole line within {} s", SPARE_LINE_WAIT.as_secs())),
    };
    let spare_line = reason.unwrap_or_else(|reason| {
        tracing::warn!(agent = %agent.id, reason, "spare_line_is_a_tone");
        AgentSetup::spare_tone()
    });
    Ok(Arc::new(AgentSetup {
        time_zone: time_zone(&agent)?,
        agent,
        tool_set: Arc::new(tool_set),
        tools: Arc::new(HttpTools::new(Arc::new(egress), Random::system())),
        turn: TurnSettings::default(),
        speed: SPEED,
        header_variables: Vec::new(),
        budget,
        spare_line,
    }))
}

/// Makes the bot of an agent ready to take calls. Without a voice it speaks only for itself.
///
/// # Errors
/// One sentence.
pub(super) async fn prepare_bot(
    agent: Arc<Agent>,
    sources: &Sources,
    policy: EgressPolicy,
    extra_roots: &[u8],
) -> Result<Program, String> {
    let surroundings = BotSurroundings {
        policy,
        resolver: Arc::new(SystemResolver),
        extra_roots,
        environment: &|name| std::env::var(name).ok(),
        voice: sources.voice(&agent)?.map(|tts| (tts, SPEED)),
    };
    let id = agent.id.clone();
    let setup = BotSetup::new(agent, surroundings).await?;
    Ok(Program::Bot(Arc::new(setup.ok_or_else(|| format!("agent {id} has no bridge and no engines"))?)))
}

fn time_zone(agent: &Agent) -> Result<TimeZone, String> {
    match &agent.timezone {
        Some(name) => TimeZone::get(name).map_err(|e| format!("agent {}: time zone {name}: {e}", agent.id)),
        None => Ok(TimeZone::system()),
    }
}

#[cfg(test)]
#[path = "engines_tests.rs"]
mod tests;
