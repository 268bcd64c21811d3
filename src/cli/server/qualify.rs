//! Asks trunks by OPTIONS whether they are there (RFC 3261 §11).

use crate::call::Gateway;
use crate::net::{NetError, Sip};
use crate::sip::event::{Header, Party};
use crate::sip::{OutgoingOptions, Uri};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// What became of the latest OPTIONS to a trunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// When.
    pub at: Instant,
    /// The status, and how long it took; or why there is none, in words.
    pub outcome: Result<(u16, Duration), String>,
}

/// The latest answers, by trunk. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct TrunkReachability(Arc<Mutex<BTreeMap<String, Answer>>>);

impl TrunkReachability {
    /// The latest answer of this trunk.
    #[must_use]
    pub fn of(&self, trunk: &str) -> Option<Answer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(trunk).cloned()
    }

    fn note(&self, trunk: &str, outcome: Result<(u16, Duration), String>) {
        let answer = Answer { at: Instant::now(), outcome };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_good = all.get(trunk).is_none_or(|before| before.outcome.is_ok());
        match &answer.outcome {
            Err(reason) if was_good => tracing::warn!(trunk, reason, "trunk_unreachable"),
            Ok((status, took)) if !was_good => tracing::info!(trunk, status, ?took, "trunk_reachable"),
            _ => {}
        }
        all.insert(trunk.to_owned(), answer);
    }
}

/// What came back for an OPTIONS.
#[derive(Debug)]
pub struct Reply {
    /// Its final status.
    pub status: u16,
    /// How long it took.
    pub took: Duration,
    /// Header fields of the response.
    pub headers: Vec<Header>,
}

/// One OPTIONS to a gateway, and what came back.
///
/// # Errors
/// Why nothing did, in words.
pub(super) async fn once(sip: &Sip, gateway: &Gateway) -> Result<Reply, String> {
    let destination = gateway.destinations.first().ok_or("there is no gateway")?;
    let targets = sip.locate(destination).await.map_err(|error| error.to_string())?;
    let target = *targets.first().ok_or("the name leads nowhere")?;
    let uri = Uri::sip_address(sip.local_addr()).with_user(&gateway.user);
    let options = OutgoingOptions {
        uri: gateway.domain.clone(),
        target,
        from: Party { display: None, uri },
        account: gateway.account.clone(),
    };
    let asked = Instant::now();
    match sip.options(options).await {
        Ok(Some((status, headers))) => Ok(Reply { status, took: asked.elapsed(), headers }),
        Ok(None) => Err(format!("no answer from {}", target.remote)),
        Err(NetError::Stopped) => Err("the server has stopped".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Asks for ever.
pub(super) async fn ask(sip: Sip, trunk: String, gateway: Gateway, period: Duration, seen: TrunkReachability) {
    loop {
        seen.note(&trunk, once(&sip, &gateway).await.map(|reply| (reply.status, reply.took)));
        sleep(period).await;
    }
}
