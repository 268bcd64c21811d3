//! From `offhook.toml` to what a server is started with.

mod peers;

use super::engines;
use super::server::{ExtensionPlan, ServerPlan, TrunkPlan};
use crate::agent::Agent;
use crate::call::{PeerTerms, Program, Sounds};
use crate::config::{Config, LatenessLimit};
use crate::media::{Admission, MediaConfig};
use crate::net::Destination;
use crate::providers::local::pool::PoolConfig;
use crate::providers::registry::Registry;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The built-in agent that sends callers their own voice back: for line checks and load tests.
const ECHO: &str = "echo";
/// RFC 8489 §18.6.
const STUN_PORT: u16 = 3478;

/// A server and its agents.
pub(super) struct Plan {
    /// Network, media, trunks, extensions.
    pub(super) server: ServerPlan,
    /// What answers, by name.
    pub(super) agents: HashMap<String, Program>,
    /// The providers in use.
    pub(super) providers: Arc<Registry>,
    /// How long calls may go on after the first signal to stop.
    pub(super) drain: Duration,
}

/// Reads the configuration, compiles its agents and loads the engines they need.
///
/// # Errors
/// Everything that is wrong, with positions.
pub(super) async fn read(path: &Path, models: Option<PathBuf>, mut say: impl FnMut(&str)) -> Result<Plan, String> {
    let config = Config::load(path).map_err(|e| e.to_string())?;
    for danger in config.dangers() {
        tracing::warn!(danger, "security_weakened");
    }
    let mut agents = HashMap::from([(ECHO.to_owned(), Program::Echo)]);
    let mut compiled = Vec::new();
    for (name, entry) in &config.agents {
        let settings: Vec<(String, String)> = entry.settings.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let agent = Agent::load(&entry.file, &settings).map_err(|e| e.to_string())?;
        let ways = config.ways_out();
        let is_lost = |through: &&str| !ways.contains(through);
        if let Some(lost) = agent.destinations.iter().filter_map(|d| d.through.as_deref()).find(is_lost) {
            return Err(format!(
                "agent {name}: a destination goes through {lost}, which is no [[extension]] and no [[trunk]] with gateways; \
                 `offhook check {}` shows the place",
                path.display()
            ));
        }
        compiled.push((name.clone(), Arc::new(agent)));
    }
    let default = PoolConfig::default();
    let pool = PoolConfig {
        threads: config.inference.threads.unwrap_or(default.threads),
        queue: config.inference.queue.unwrap_or(default.queue),
    };
    let models = models.or_else(|| config.models_dir.clone());
    let parts = engines::parts(compiled.iter().map(|(_, agent)| agent.as_ref()));
    let load = || engines::load(&config.providers, models, parts, pool, &mut say);
    let sources = tokio::task::block_in_place(load)?;
    if !compiled.is_empty() {
        let roots = match &config.tools.ca_file {
            Some(file) => std::fs::read(file).map_err(|e| format!("[tools] ca_file {}: {e}", file.display()))?,
            None => Vec::new(),
        };
        for (name, agent) in compiled {
            let policy = config.tools.egress_policy();
            for sunset in sources.sunsets(&agent) {
                tracing::warn!(agent = name, sunset, "model_will_be_withdrawn");
            }
            for missing in sources.missing_languages(&agent) {
                tracing::warn!(agent = name, missing, "language_is_missing");
            }
            let wrong = |error: String| {
                let shows = format!("`offhook check {}` shows the place", path.display());
                format!("agent {name}: {error}; {shows}")
            };
            let program = if agent.bridge.is_none() {
                let engines = sources.engines(&agent).map_err(wrong)?;
                let setup = engines::prepare(agent, &engines, policy, config.tools.budget, &roots).await?;
                Program::Agent(setup, engines)
            } else {
                engines::prepare_bot(agent, &sources, policy, &roots).await.map_err(wrong)?
            };
            agents.insert(name, program);
        }
    }
    let providers = sources.registry;
    Ok(Plan { server: server_plan(&config)?, agents, providers, drain: config.server.drain })
}

/// When the media threads are too late to take further calls.
fn admission(limit: Option<LatenessLimit>) -> Admission {
    let default = Admission::default();
    let Some(LatenessLimit { late_share, late_after, window }) = limit else {
        // No share is above the whole.
        return Admission { refuse_above: 1.0, admit_below: 1.0, ..default };
    };
    let refuse_above = f32::from(late_share) / 100.0;
    // They are taken again where they would be by default: at a quarter of the share that refuses them.
    let admit_below = refuse_above * default.admit_below / default.refuse_above;
    Admission { late: late_after, refuse_above, admit_below, window, ..default }
}

/// The server that a configuration describes, without its agents.
///
/// # Errors
/// A host that cannot stand in a SIP address.
pub fn server_plan(config: &Config) -> Result<ServerPlan, String> {
    let profiles = config.extensions.iter().map(|e| &e.profile).chain(config.trunks.iter().map(|t| &t.profile));
    let media = MediaConfig {
        bind_ip: config.media.bind,
        ports: config.media.rtp_ports.first..=config.media.rtp_ports.last,
        workers: config.media.workers.unwrap_or(0),
        quarantine: config.media.quarantine,
        admission: admission(config.media.admission),
        ..MediaConfig::default()
    };
    let sounds = Sounds::default().with_ringback(config.media.ringback);
    let sounds = match &config.media.hold_music {
        Some(file) => sounds.with_hold_music(file).map_err(|error| format!("[media] hold_music: {error}"))?,
        None => sounds,
    };
    let tune = |terms: &mut PeerTerms| {
        (terms.media.opus, terms.media.comfort_noise) = (config.media.opus, config.media.comfort_noise);
    };
    let mut trunks: Vec<TrunkPlan> = config.trunks.iter().map(peers::trunk).collect::<Result<_, _>>()?;
    for trunk in &mut trunks {
        tune(&mut trunk.terms);
        trunk.gateway.iter_mut().for_each(|gateway| tune(&mut gateway.terms));
    }
    let mut extensions: Vec<ExtensionPlan> =
        config.extensions.iter().map(peers::extension).collect::<Result<_, _>>()?;
    for extension in &mut extensions {
        tune(&mut extension.terms);
        tune(&mut extension.gateway.terms);
    }
    Ok(ServerPlan {
        sounds,
        recordings: config.recording.as_ref().map(|recording| recording.directory.clone()),
        advertised: config.server.advertised.clone(),
        stun: config.server.stun.as_ref().map(|server| Destination {
            host: server.host.clone(),
            port: Some(server.port.unwrap_or(STUN_PORT)),
            transport: None,
            tls: None,
        }),
        dns_servers: config.server.dns_servers.clone(),
        user_agent: profiles.filter_map(|p| p.user_agent.clone()).next(),
        trunks,
        extensions,
        ..ServerPlan::new(config.server.sip_listen.clone(), media)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_becomes_a_server() {
        let text = r#"
            [server]
            sip_listen = "127.0.0.1:5070"
            stun = "stun.example"
            [media]
            rtp_ports = "21000-21999"
            [[extension]]
            name = "front"
            registrar = "pbx.example"
            user = "1001"
            auth_user = "r1001"
            password = "secret"
            agent = "echo"
            profile = "yeastar"
        "#;
        let config = Config::parse(Path::new("offhook.toml"), text, &|_| None).unwrap_or_else(|e| panic!("{e}"));
        let plan = server_plan(&config).unwrap();
        assert_eq!(plan.media.ports, 21_000..=21_999);
        assert_eq!(plan.listen.len(), 2, "UDP and TCP");
        assert_eq!(plan.user_agent.as_deref(), Some("Offhook"), "Yeastar may want it listed");
        assert_eq!(plan.stun.unwrap().port, Some(3478));
    }
}
