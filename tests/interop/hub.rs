//! A telephone exchange of our own in this process: it takes every call as its name says, so that many telephones with
//! other codecs and keys call at the same time.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use offhook::{
    base::Random,
    call::Line,
    media::{LegMode, MediaConfig, Workers},
    net::{self, Arrival, Listen, ServerTls, TlsIdentity},
    sip::{EndpointConfig, KnownPeer, LocalAddress, Transport},
};
use tokio::runtime::Runtime;

use super::{
    media::terms,
    own::Conversation,
    phones::{Carries, Protects},
    support::Bench,
};

type Calls = Arc<(Mutex<HashMap<String, Arc<Conversation>>>, Condvar)>;

/// The exchange, until it is dropped.
pub struct Hub {
    calls: Calls,
    _runtime: Runtime,
}

impl Hub {
    /// Listens on the bench's address 20 by UDP (5060) and, with the certificate of `keys`, by TLS (5061). Who calls as
    /// [`name`] gets that codec protected in that way, and nothing else.
    pub fn open(bench: &Bench, keys: &Path) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let calls = Calls::default();
        let taken = Arc::clone(&calls);
        let identity = TlsIdentity { certificate_file: keys.join("good.crt"), key_file: keys.join("good.key") };
        let ip = bench.address(20);
        let listen = [
            Listen::udp(SocketAddr::from((ip, 5060))),
            Listen {
                transport: Transport::Tls,
                address: SocketAddr::from((ip, 5061)),
                tls: Some(ServerTls { identity, client_ca_file: None }),
            },
        ];
        let _inside = runtime.enter();
        let (sip, mut inbox) = net::start(&listen, Random::system(), |bound| {
            let anyone = KnownPeer::by_source("telephones", vec!["127.0.0.0/8".parse().expect("a network")]);
            let local = bound
                .iter()
                .map(|Listen { transport, address, .. }| LocalAddress {
                    transport: *transport,
                    socket: *address,
                    advertised: *address,
                    for_peers: Vec::new(),
                })
                .collect();
            let first = SocketAddr::from((ip, 5060));
            EndpointConfig { known_peers: vec![anyone], local, ..EndpointConfig::udp(first, first) }
        })
        .expect("the sockets open");
        let media = MediaConfig { bind_ip: ip.into(), workers: 1, ..MediaConfig::default() };
        let workers = Workers::start(media, Random::system()).expect("the workers start");
        runtime.spawn(async move {
            while let Some(arrival) = inbox.recv().await {
                let Arrival::Call(call, events) = arrival else { continue };
                let caller = call.from.expose().uri.view().user().unwrap_or_default().to_owned();
                let Some((codec, protects)) = wanted(&caller) else { continue };
                let media = terms(codec, protects);
                let (mode, mut random) = (LegMode::Agent, Random::system());
                match Line::answer(&sip, &call, events, &workers, media, mode, &mut random).await {
                    Ok(line) => {
                        let (calls, changed) = &*taken;
                        calls.lock().expect("nobody panicked").insert(caller, Arc::new(Conversation::begin(line)));
                        changed.notify_all();
                    }
                    Err(error) => {
                        eprintln!(
                            "{caller}: {error}\n{}",
                            String::from_utf8_lossy(call.sdp.as_deref().unwrap_or_default())
                        );
                        let (leg, code) = (call.leg, error.sip_status());
                        sip.post(move |endpoint, now| {
                            let _ = endpoint.reject(now, leg, code, &[]);
                        });
                    }
                }
            }
        });
        drop(_inside);
        Self { calls, _runtime: runtime }
    }

    /// The call of who calls as `name`, once it is up; `None` when there is none within `limit`.
    pub fn call(&self, name: &str, limit: Duration) -> Option<Arc<Conversation>> {
        let (calls, changed) = &*self.calls;
        let calls = calls.lock().expect("nobody panicked");
        let (calls, _) =
            changed.wait_timeout_while(calls, limit, |calls| !calls.contains_key(name)).expect("nobody panicked");
        calls.get(name).cloned()
    }
}

/// The user name by which a telephone asks for a codec and a protection.
pub fn name(codec: Carries, protects: Protects) -> String {
    let protection = if protects == Protects::Nothing { "plain" } else { protects.name() };
    format!("{}-{protection}", codec.name().to_lowercase())
}

fn wanted(caller: &str) -> Option<(Carries, Protects)> {
    let both = Carries::ALL.into_iter().flat_map(|codec| Protects::ALL.map(|protects| (codec, protects)));
    both.into_iter().find(|(codec, protects)| name(*codec, *protects) == caller)
}
