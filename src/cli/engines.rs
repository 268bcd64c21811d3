//! Loads the offline engines with progress on the screen, and agents with their tools.

use crate::agent::Agent;
use crate::base::Random;
use crate::call::bot::{BotSetup, BotSurroundings};
use crate::call::{AgentSetup, Engines, Program};
use crate::providers::local::LocalEngines;
use crate::providers::local::models::{Models, Surroundings};
use crate::providers::local::pool::PoolConfig;
use crate::tools::{CallBudget, Egress, EgressPolicy, HttpTools, SystemResolver, ToolSet};
use crate::turn::TurnSettings;
use jiff::tz::TimeZone;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Pace of the voice.
const SPEED: f32 = 1.0;

/// Loads every offline engine from the models directory. `say` gets one line per step.
///
/// # Errors
/// One sentence with the fix.
pub(super) fn load(models: Option<PathBuf>, pool: PoolConfig, mut say: impl FnMut(&str)) -> Result<Engines, String> {
    let started = Instant::now();
    let directory = Surroundings::of_process().models_directory(models.as_deref());
    let models = Models::open(&directory).map_err(|e| e.to_string())?;
    let local = LocalEngines::load(&models, pool, |step| {
        say(&format!("{} loaded in {} ms", step.engine, step.took.as_millis()))
    })
    .map_err(|e| e.to_string())?;
    say(&format!("offline engines ready in {:.1} s", started.elapsed().as_secs_f64()));
    Ok(Engines {
        stt: local.stt(),
        tts: local.tts(),
        llm: None,
        realtime: None,
        embedder: local.embedder(),
        voice: Arc::new(local.voice().clone()),
        exemplars: Arc::default(),
    })
}

/// Makes an agent ready to take calls.
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
    let speed = SPEED;
    let spare_line = AgentSetup::synthesise_spare_line(engines, speed).await.map_err(|e| e.to_string())?;
    Ok(Arc::new(AgentSetup {
        time_zone: time_zone(&agent)?,
        agent,
        tool_set: Arc::new(tool_set),
        tools: Arc::new(HttpTools::new(Arc::new(egress), Random::system())),
        turn: TurnSettings::default(),
        speed,
        header_variables: Vec::new(),
        budget,
        spare_line,
    }))
}

/// Makes the bot of an agent ready to take calls. Without engines it speaks only for itself.
///
/// # Errors
/// One sentence.
pub(super) async fn prepare_bot(
    agent: Arc<Agent>,
    engines: Option<&Engines>,
    policy: EgressPolicy,
    extra_roots: &[u8],
) -> Result<Program, String> {
    let surroundings = BotSurroundings {
        policy,
        resolver: Arc::new(SystemResolver),
        extra_roots,
        environment: &|name| std::env::var(name).ok(),
        voice: engines.map(|engines| (Arc::clone(&engines.tts), SPEED)),
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
