//! Certificates made for one test.
#![allow(dead_code, reason = "each test binary uses its own part")]

use offhook::net::{ClientTls, ServerTls, TlsIdentity};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// A certification authority that writes what it signs into a directory of its own.
pub struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
    pub ca_file: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { directory, issuer: Issuer::new(params, key), ca_file }
    }

    /// A certificate for these hosts, changed by `change`; its files are called `name`.
    pub fn sign(&self, name: &str, hosts: &[&str], change: impl FnOnce(&mut CertificateParams)) -> TlsIdentity {
        let mut params = CertificateParams::new(hosts.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        self.write(name, &params.signed_by(&key, &self.issuer).unwrap().pem(), &key)
    }

    pub fn expired(&self, name: &str, hosts: &[&str]) -> TlsIdentity {
        self.sign(name, hosts, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 2, 3);
        })
    }

    /// A certificate that nobody else has signed.
    pub fn self_signed(&self, name: &str, hosts: &[&str]) -> TlsIdentity {
        let params = CertificateParams::new(hosts.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>()).unwrap();
        let key = KeyPair::generate().unwrap();
        self.write(name, &params.self_signed(&key).unwrap().pem(), &key)
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) -> TlsIdentity {
        let file = |ending: &str| self.directory.path().join(format!("{name}.{ending}"));
        std::fs::write(file("pem"), certificate).unwrap();
        std::fs::write(file("key"), key.serialize_pem()).unwrap();
        TlsIdentity { certificate_file: file("pem"), key_file: file("key") }
    }

    /// Settings of a client that trusts this authority alone.
    pub fn trusted(&self) -> Arc<ClientTls> {
        Arc::new(ClientTls { ca_file: Some(self.ca_file.clone()), ..ClientTls::default() })
    }

    pub fn server(&self, identity: TlsIdentity) -> ServerTls {
        ServerTls { identity, client_ca_file: None }
    }
}
