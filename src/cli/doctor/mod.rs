//! `offhook doctor`: what is wrong with the way to every PBX and trunk, and the fix.

mod carriage;
mod look;
mod provider;
mod verdict;

use super::server::{Server, ServerPlan};
use super::terminal::{Ink, Style};
use super::{engines, fail, plan, probe, providers};
use crate::agent::speech::LOCAL;
use crate::call::Gateway;
use crate::config::{Config, SipProfile};
use crate::providers::registry::Local;
use crate::sip::event::RegistrationState;
use crate::sip::{Target, Transport};
use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use verdict::{AddressFacts, Finding, Level};

/// Find out what is wrong with the way to every PBX, trunk and provider, and say the fix.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  offhook doctor -c offhook.toml\n  offhook doctor --peer carrier --call +15550134\n\nRegisters, so it takes the place of a running server's registrations for a moment where a PBX grants only one.\nExit code 1: something does not work."
)]
pub(super) struct Doctor {
    /// The configuration.
    #[arg(short, long, value_name = "FILE", default_value = "offhook.toml")]
    config: PathBuf,
    /// Look at this extension or trunk alone.
    #[arg(long, value_name = "NAME")]
    peer: Option<String>,
    /// Call this number through each peer for a few seconds and follow the audio [default: the profile's echo number].
    #[arg(long, value_name = "NUMBER", conflicts_with = "no_call")]
    call: Option<String>,
    /// Call nobody, and ask no provider for a word.
    #[arg(long)]
    no_call: bool,
    /// One JSON object per finding, and a summary.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(doctor: Doctor) -> ExitCode {
    match examine(&doctor).await {
        Ok(Level::Fail) => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(message) if doctor.json => {
            println!("{}", json!({ "peer": "", "check": "configuration", "level": "fail", "says": message }));
            ExitCode::FAILURE
        }
        Err(message) => fail(&message),
    }
}

/// Shows findings as they come and remembers the worst.
struct Report {
    json: bool,
    style: Style,
    counts: [usize; 3],
}

impl Report {
    fn heading(&self, text: &str) {
        if !self.json {
            println!("\n{}", self.style.paint(Ink::Strong, text));
        }
    }

    fn add(&mut self, peer: &str, finding: &Finding) {
        self.counts[finding.level as usize] += 1;
        let Finding { level, check, says, fix } = finding;
        if self.json {
            let fix = (!fix.is_empty()).then_some(fix);
            println!("{}", json!({ "peer": peer, "check": check, "level": level.word(), "says": says, "fix": fix }));
            return;
        }
        let ink = match level {
            Level::Ok => Ink::Good,
            Level::Warn => Ink::Warning,
            Level::Fail => Ink::Bad,
        };
        println!("  {} {check}: {says}", self.style.paint(ink, &format!("{:<4}", level.word())));
        if !fix.is_empty() {
            println!("       fix: {fix}");
        }
    }

    fn end(&self) -> Level {
        let [ok, warn, fail] = self.counts;
        if self.json {
            println!("{}", json!({ "summary": true, "ok": ok, "warn": warn, "fail": fail }));
        } else {
            println!("\n{ok} ok, {warn} to look at, {fail} failed");
        }
        match (warn, fail) {
            (_, 1..) => Level::Fail,
            (1.., 0) => Level::Warn,
            _ => Level::Ok,
        }
    }
}

/// One extension or trunk to look at.
struct Patient<'p> {
    name: &'p str,
    gateway: &'p Gateway,
    profile: &'p SipProfile,
    registers: bool,
}

async fn examine(doctor: &Doctor) -> Result<Level, String> {
    let config = Config::load(&doctor.config).map_err(|e| e.to_string())?;
    let mut whole = plan::server_plan(&config)?;
    if let Some(wanted) = &doctor.peer {
        whole.extensions.retain(|extension| extension.name == *wanted);
        whole.trunks.retain(|trunk| trunk.name() == wanted);
        if whole.extensions.is_empty() && whole.trunks.is_empty() {
            return Err(format!("{} has no [[extension]] or [[trunk]] named {wanted}", doctor.config.display()));
        }
    }
    let style = if doctor.json { Style::plain() } else { Style::stdout() };
    let mut report = Report { json: doctor.json, style, counts: [0; 3] };
    report.heading("This machine");
    report.add("", &look::ports(config.media.bind, (config.media.rtp_ports.first, config.media.rtp_ports.last)));
    for finding in look::own_certificates(&whole.listen) {
        report.add("", &finding);
    }
    let (server, _) = probe::start(whole).await.map_err(|e| e.to_string())?;
    if doctor.call.is_none() {
        // A call that comes meanwhile is not for us.
        server.drain();
    }
    let is_configured = !config.server.advertised.is_empty();
    let plan = server.plan.clone();
    for patient in patients(&plan, &config) {
        report.heading(patient.name);
        examine_peer(doctor, &server, &patient, is_configured, &mut report).await;
    }
    for trunk in plan.trunks.iter().filter(|trunk| trunk.gateway.is_none()) {
        report.heading(trunk.name());
        report.add(trunk.name(), &look::only_inbound(&trunk.known.networks));
    }
    server.stop().await;
    if doctor.peer.is_none() && !doctor.no_call {
        examine_providers(&config, &mut report).await?;
    }
    Ok(report.end())
}

/// Looks at every provider that an agent names or that has a table for a stage; the offline engines need no doctor.
async fn examine_providers(config: &Config, report: &mut Report) -> Result<(), String> {
    let registry = engines::registry(&config.providers, Local::default())?;
    for entry in providers::in_use(config)?.iter().filter(|entry| entry.name != LOCAL) {
        report.heading(&format!("{} for {}", entry.name, entry.stage.name().replace('_', " ")));
        for finding in provider::examine(&registry, entry).await {
            report.add(&entry.name, &finding);
        }
    }
    Ok(())
}

fn patients<'p>(plan: &'p ServerPlan, config: &'p Config) -> Vec<Patient<'p>> {
    let mut all = Vec::new();
    for extension in &plan.extensions {
        if let Some(known) = config.extensions.iter().find(|known| known.name == extension.name) {
            let (name, profile) = (extension.name.as_str(), &known.profile);
            all.push(Patient { name, gateway: &extension.gateway, profile, registers: true });
        }
    }
    for trunk in &plan.trunks {
        let known = config.trunks.iter().find(|known| known.name == trunk.name());
        if let (Some(known), Some(gateway)) = (known, &trunk.gateway) {
            let registers = trunk.registration.is_some();
            all.push(Patient { name: trunk.name(), gateway, profile: &known.profile, registers });
        }
    }
    all
}

async fn examine_peer(
    doctor: &Doctor,
    server: &Server,
    patient: &Patient<'_>,
    is_configured: bool,
    report: &mut Report,
) {
    let name = patient.name;
    let mut targets: Vec<Target> = Vec::new();
    for destination in &patient.gateway.destinations {
        let found = server.sip.locate(destination).await.map_err(|e| e.to_string());
        report.add(name, &verdict::names(&destination.host, &found));
        targets.extend(found.unwrap_or_default());
    }
    let Some(first) = targets.first().copied() else { return };
    let udp = look::udp_port(first).await;
    let registration = async { if patient.registers { probe::registration(server, name).await } else { None } };
    let (state, reply) = tokio::join!(registration, look::options(server, patient.gateway));
    let is_registered = matches!(state, Some(RegistrationState::Registered { .. }));
    let outcome = look::stream(server, first, reply.is_ok()).await;
    let outcome = outcome.as_ref().map(|took| *took).map_err(String::as_str);
    if let Some(finding) = verdict::connection(first, outcome, udp) {
        report.add(name, &finding);
    }
    if let Ok(Some(facts)) = server.sip.peer_certificate(first.remote).await {
        report.add(name, &verdict::certificate(&facts, Timestamp::now()));
    }
    let answer = reply.as_ref().map(|reply| (reply.status, reply.took)).map_err(Clone::clone);
    report.add(name, &verdict::options(&answer, udp, is_registered));
    if patient.registers {
        report.add(name, &verdict::registration(state.as_ref(), probe::REGISTRATION_WAIT, udp));
    }
    let headers = reply.map(|reply| reply.headers).unwrap_or_default();
    if let Some(finding) = verdict::clock(look::date(&headers), Timestamp::now()) {
        report.add(name, &finding);
    }
    let seen = match &state {
        Some(RegistrationState::Registered { contact, .. }) => Some(*contact),
        _ => look::seen_at(&headers),
    };
    let facts = AddressFacts {
        peer: first.remote.ip(),
        seen,
        told: server.media_ip_towards(first.remote),
        mapped: server.mapped_address(),
        is_configured,
    };
    report.add(name, &verdict::address(facts));
    let over_tls = targets.iter().all(|target| target.transport == Transport::Tls);
    report.add(name, &carriage::offer(&patient.gateway.terms.media, over_tls, look::accept(&headers)));
    let number = doctor.call.as_deref().or(patient.profile.echo_number.as_deref());
    let may_call = !doctor.no_call && (is_registered || !patient.registers);
    if let Some(number) = number.filter(|_| may_call) {
        for finding in look::call(server, patient.gateway, targets, number).await {
            report.add(name, &finding);
        }
    }
    if report.counts[Level::Fail as usize] > 0 && !doctor.json {
        for note in &patient.profile.notes {
            println!("       see: {note}");
        }
    }
}
