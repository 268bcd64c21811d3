//! From `offhook.toml` to what a server is started with.

use super::engines;
use super::server::{ExtensionPlan, ServerPlan, TrunkPlan};
use crate::agent::Agent;
use crate::call::{DigitsBy, PeerTerms, Program};
use crate::config::{Config, DtmfMode, ProfileCodec, ReferTarget, SipProfile};
use crate::media::MediaConfig;
use crate::providers::local::pool::PoolConfig;
use crate::sdp::Codec;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The built-in agent that sends callers their own voice back: for line checks and load tests.
const ECHO: &str = "echo";

/// A server and its agents.
pub(super) struct Plan {
    /// Network, media, trunks, extensions.
    pub(super) server: ServerPlan,
    /// What answers, by name.
    pub(super) agents: HashMap<String, Program>,
    /// How long calls may go on after the first signal to stop.
    pub(super) drain: Duration,
}

/// Reads the configuration, compiles its agents and loads the engines they need.
///
/// # Errors
/// Everything that is wrong, with positions.
pub(super) async fn read(path: &Path, models: Option<PathBuf>, mut say: impl FnMut(&str)) -> Result<Plan, String> {
    let config = Config::load(path).map_err(|e| e.to_string())?;
    let mut agents = HashMap::from([(ECHO.to_owned(), Program::Echo)]);
    let mut compiled = Vec::new();
    for (name, entry) in &config.agents {
        let settings: Vec<(String, String)> = entry.settings.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let agent = Agent::load(&entry.file, &settings).map_err(|e| e.to_string())?;
        compiled.push((name.clone(), Arc::new(agent)));
    }
    if !compiled.is_empty() {
        let default = PoolConfig::default();
        let pool = PoolConfig {
            threads: config.inference.threads.unwrap_or(default.threads),
            queue: config.inference.queue.unwrap_or(default.queue),
        };
        let models = models.or_else(|| config.models_dir.clone());
        let engines = tokio::task::block_in_place(|| engines::load(models, pool, &mut say))?;
        let roots = match &config.tools.ca_file {
            Some(file) => std::fs::read(file).map_err(|e| format!("[tools] ca_file {}: {e}", file.display()))?,
            None => Vec::new(),
        };
        for (name, agent) in compiled {
            let setup =
                engines::prepare(agent, &engines, config.tools.egress_policy(), config.tools.budget, &roots).await?;
            agents.insert(name, Program::Agent(setup, engines.clone()));
        }
    }
    Ok(Plan { server: server_plan(&config), agents, drain: config.server.drain })
}

fn server_plan(config: &Config) -> ServerPlan {
    let profiles = config.extensions.iter().map(|e| &e.profile).chain(config.trunks.iter().map(|t| &t.profile));
    ServerPlan {
        listen: config.server.sip_listen,
        advertised: config.server.advertised_address,
        media: MediaConfig {
            bind_ip: config.media.bind,
            ports: config.media.rtp_ports.first..=config.media.rtp_ports.last,
            workers: config.media.workers.unwrap_or(0),
            ..MediaConfig::default()
        },
        user_agent: profiles.filter_map(|p| p.user_agent.clone()).next(),
        trunks: config
            .trunks
            .iter()
            .map(|trunk| TrunkPlan {
                name: trunk.name.clone(),
                networks: trunk.hosts.clone(),
                agent: trunk.agent.clone(),
                terms: PeerTerms { called_numbers: trunk.called_numbers.clone(), ..terms(&trunk.profile) },
            })
            .collect(),
        extensions: config
            .extensions
            .iter()
            .map(|extension| ExtensionPlan {
                name: extension.name.clone(),
                host: extension.registrar.host.clone(),
                port: extension.registrar.port,
                user: extension.user.clone(),
                auth_user: extension.auth_user.clone(),
                password: extension.password.clone(),
                expires: extension.profile.register_expires,
                agent: extension.agent.clone(),
                terms: terms(&extension.profile),
            })
            .collect(),
    }
}

fn terms(profile: &SipProfile) -> PeerTerms {
    PeerTerms {
        codecs: profile
            .codecs
            .iter()
            .map(|codec| match codec {
                ProfileCodec::Pcma => Codec::Pcma,
                ProfileCodec::Pcmu => Codec::Pcmu,
            })
            .collect(),
        context_header: profile.context_header.clone(),
        refer_as_tel: profile.refer_target == ReferTarget::Tel,
        digits: match profile.dtmf {
            DtmfMode::Info => DigitsBy::Info,
            DtmfMode::Rfc4733 => DigitsBy::Rfc4733,
        },
        ..PeerTerms::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_becomes_a_server_with_the_ways_of_its_profiles() {
        let text = r#"
            [server]
            sip_listen = "127.0.0.1:5070"
            [media]
            rtp_ports = "21000-21999"
            [[extension]]
            name = "front"
            registrar = "pbx.example:5062"
            user = "1001"
            password = "secret"
            agent = "echo"
            profile = "freepbx"
            [[trunk]]
            name = "carrier"
            hosts = ["203.0.113.0/24"]
            agent = "echo"
            called_numbers = ["+15550134"]
        "#;
        let config = Config::parse(Path::new("offhook.toml"), text, &|_| None).unwrap_or_else(|e| panic!("{e}"));
        let plan = server_plan(&config);
        assert_eq!(plan.media.ports, 21_000..=21_999);
        assert_eq!(plan.extensions[0].port, 5062);
        assert_eq!(plan.extensions[0].auth_user, "1001");
        assert!(!plan.extensions[0].terms.codecs.is_empty());
        assert_eq!(plan.trunks[0].terms.called_numbers, ["+15550134"]);
    }
}
