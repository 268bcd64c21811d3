//! A vendor's fake and the provider that is configured for it.

use crate::fakes::{FakeServer, Vendor};
use offhook::base::Pii;
use offhook::providers::registry::ProviderSpec;

/// A fake and the provider that is configured for it.
pub struct Account {
    pub server: FakeServer,
    pub spec: ProviderSpec,
}

/// A vendor's fake behind TLS.
pub fn account(vendor: &str, key: &str, path: &str, fake: impl Vendor) -> Account {
    let server = FakeServer::start(fake);
    let spec = ProviderSpec {
        key: Some(Pii::new(key.to_owned())),
        url: Some(server.http_url(path)),
        ..ProviderSpec::of_vendor(vendor)
    };
    Account { server, spec }
}
