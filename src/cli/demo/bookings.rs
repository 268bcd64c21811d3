//! The booking service inside the demo's process, and the demo's look into it over HTTP.

use crate::cli::booking::BookingService;
use crate::tools::{Egress, EgressPolicy, EgressRequest, HostRule, SystemResolver};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Days looked through for the caller's booking.
const DAYS: i64 = 15;

/// A running service with its own database file.
pub(super) struct Bookings {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
    database: PathBuf,
}

impl Bookings {
    /// Starts the service on a free loopback port.
    pub(super) async fn start() -> Result<Self, String> {
        let database = std::env::temp_dir().join(format!("offhook-demo-{}.sqlite", std::process::id()));
        let service = BookingService::open(&database, Arc::new(jiff::Zoned::now)).await.map_err(|e| e.to_string())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|e| e.to_string())?;
        let address = listener.local_addr().map_err(|e| e.to_string())?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(service.serve(listener, async {
            let _ = stopped.await;
        }));
        Ok(Self { address, stop, task, database })
    }

    /// Its base URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The egress rules that let the demo's agent reach it, and nothing else that is private.
    pub(super) fn policy(&self) -> EgressPolicy {
        let rule = HostRule::new("127.0.0.1").ports([self.address.port()]);
        EgressPolicy::new([rule.danger_allow_http().danger_allow_private_addresses()])
    }

    /// Every booking of the next days, asked for over HTTP.
    pub(super) async fn read_back(&self) -> Result<Vec<Value>, String> {
        let egress = Egress::new(self.policy(), Arc::new(SystemResolver), &[]).map_err(|e| e.to_string())?;
        let mut all = Vec::new();
        let mut date = jiff::Zoned::now().date();
        for _ in 0..DAYS {
            let url =
                egress.policy().check(&format!("{}/bookings?date={date}", self.url())).map_err(|e| e.to_string())?;
            let request = EgressRequest {
                method: reqwest::Method::GET,
                url,
                headers: reqwest::header::HeaderMap::new(),
                body: None,
                timeout: Duration::from_secs(5),
            };
            let answer = egress.send(request).await.map_err(|e| e.to_string())?;
            let body: Value = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
            all.extend(body.get("bookings").and_then(Value::as_array).cloned().unwrap_or_default());
            date = date.tomorrow().map_err(|e| e.to_string())?;
        }
        Ok(all)
    }

    /// Ends the service and removes its database.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(Duration::from_secs(2), self.task).await;
        let _ = std::fs::remove_file(&self.database);
    }
}
