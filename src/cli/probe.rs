//! The network side of a configuration, started for a moment to try it.

use super::server::{Server, ServerError, ServerPlan};
use crate::call::{EventStream, Program};
use crate::media::MediaConfig;
use crate::net::NetError;
use crate::sip::event::RegistrationState;
use std::collections::HashMap;
use std::time::Duration;

/// Longest wait for a registrar: 64·T1 is 32 s, and nobody waits that long at a prompt for what answers in one.
pub(super) const REGISTRATION_WAIT: Duration = Duration::from_secs(12);
/// Ports of a trial: a few, so that a running server keeps its own.
const PORTS: std::ops::RangeInclusive<u16> = 61_000..=61_099;

/// Starts a plan whose calls are echoed, on its own port, or on any port while a server holds that one. The flag tells
/// the latter.
///
/// # Errors
/// As [`Server::start`].
pub(super) async fn start(mut plan: ServerPlan) -> Result<(Server, bool), ServerError> {
    let names = plan.trunks.iter().map(|t| &t.agent).chain(plan.extensions.iter().map(|e| &e.agent));
    let agents: HashMap<String, Program> = names.map(|name| (name.clone(), Program::Echo)).collect();
    plan.media = MediaConfig { ports: PORTS, workers: 1, ..plan.media };
    match Server::start(plan.clone(), &agents, EventStream::default()).await {
        Err(ServerError::Net(NetError::Bind { .. })) => {
            for listen in &mut plan.listen {
                listen.address.set_port(0);
            }
            Ok((Server::start(plan, &agents, EventStream::default()).await?, true))
        }
        started => Ok((started?, false)),
    }
}

/// Waits until the registration of `name` is decided: registered, or failed for a reason.
pub(super) async fn registration(server: &Server, name: &str) -> Option<RegistrationState> {
    let decided = async {
        loop {
            match server.supervisor.registration_state(name) {
                Some(state @ (RegistrationState::Registered { .. } | RegistrationState::Failed { .. })) => {
                    return state;
                }
                _ => {
                    // A change between the look and the wait is seen at the next look.
                    let _ = tokio::time::timeout(Duration::from_millis(100), server.supervisor.change()).await;
                }
            }
        }
    };
    tokio::time::timeout(REGISTRATION_WAIT, decided).await.ok()
}
