//! A server that demands encryption.

use std::path::{Path, PathBuf};
use std::process::Command;

use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::program::{Mosaic, backlog};
use mosaic_backlog_tests::{account, programs};

struct Server {
    cluster: Cluster,
    port: u16,
}

/// A certificate for this machine that nobody signed but itself.
fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let (key, certificate) = (folder.join("server.key"), folder.join("server.crt"));
    programs::run(
        account::serve(&mut Command::new("openssl"))
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .current_dir("/"),
    );
    (key, certificate)
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

impl Server {
    fn start() -> Self {
        let cluster = Cluster::start(&[]);
        cluster.session("postgres").run(
            "create extension mosaic_backlog_ext;
             create role encrypted login password 'right'; grant mosaic_reader to encrypted",
        );
        let port = free_port();
        let (key, certificate) = certificate(cluster.folder());
        cluster.crash();
        cluster.configure(&[
            "listen_addresses = '127.0.0.1'",
            &format!("port = {port}"),
            "ssl = on",
            &format!("ssl_key_file = '{}'", key.display()),
            &format!("ssl_cert_file = '{}'", certificate.display()),
        ]);
        let rules = cluster.data().join("pg_hba.conf");
        std::fs::write(rules, "local all all trust\nhostssl all encrypted 127.0.0.1/32 scram-sha-256\nhostssl all all 127.0.0.1/32 trust\n")
            .expect("write");
        cluster.resume();
        Self { cluster, port }
    }

    fn call(&self, host: &str, parameters: &str) -> Mosaic {
        let port = self.port;
        backlog(&["stats"]).env(
            "DATABASE_URL",
            format!("postgresql://postgres@{host}:{port}/postgres?connect_timeout=20&{parameters}"),
        )
    }

    fn root(&self) -> String {
        self.cluster
            .folder()
            .join("server.crt")
            .to_string_lossy()
            .into_owned()
    }
}

#[test]
fn a_server_that_takes_encrypted_connections_only() {
    let server = Server::start();
    // Encryption is used where the server offers it.
    server.call("127.0.0.1", "sslmode=prefer").json();
    server.call("127.0.0.1", "sslmode=require").json();
    // Without it the server refuses, and the error says what to do.
    let document = server.call("127.0.0.1", "sslmode=disable").run().json(4);
    assert_eq!(document["error"]["code"], "unauthorized");
    assert!(
        document["error"]["hint"]
            .as_str()
            .expect("text")
            .contains("sslmode=require"),
        "{document}"
    );
    // A certificate that nobody vouches for does not pass where it is looked at.
    let document = server
        .call("localhost", "sslmode=verify-full")
        .run()
        .json(4);
    assert!(
        ["unauthorized", "unreachable"]
            .contains(&document["error"]["code"].as_str().expect("a code")),
        "{document}"
    );
    let root = server.root();
    server
        .call(
            "localhost",
            &format!("sslmode=verify-full&sslrootcert={root}"),
        )
        .json();
    server
        .call(
            "127.0.0.1",
            &format!("sslmode=verify-ca&sslrootcert={root}"),
        )
        .json();
    // It names another host than the one that was asked for.
    let document = server
        .call(
            "127.0.0.1",
            &format!("sslmode=verify-full&sslrootcert={root}"),
        )
        .run()
        .json(4);
    assert_eq!(document["error"]["retryable"], false, "{document}");
}

#[test]
fn passwords_are_asked_for_by_the_server_and_given_over_tls() {
    let server = Server::start();
    let port = server.port;
    let call = |user: &str| {
        backlog(&["stats"]).env(
            "DATABASE_URL",
            format!("postgresql://{user}@127.0.0.1:{port}/postgres?sslmode=require"),
        )
    };
    call("encrypted:right").json();
    for (user, password) in [
        ("encrypted:wrong", "wrong"),
        ("encrypted", "no-password-at-all"),
    ] {
        let outcome = call(user).run();
        assert!(
            !outcome.stdout.contains(&format!(":{password}")),
            "{outcome:?}"
        );
        let document = outcome.json(4);
        assert_eq!(document["error"]["code"], "unauthorized", "{document}");
    }
    call("encrypted").env("PGPASSWORD", "right").json();
}
