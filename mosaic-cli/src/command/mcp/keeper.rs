//! `--keep`: a thread that renews what the session holds.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::session::Session;
use crate::database::limit::ANSWER;
use crate::failure::Code;

/// Between two tries after a failure, at most.
const PAUSE: Duration = Duration::from_secs(1);

/// Renews until the session ends.
pub fn start(session: Arc<Session>) {
    thread::spawn(move || {
        while let Some((id, lease)) = session.due() {
            let renew = lease
                .call("backlog_renew", &id)
                .seconds("ttl", Some(lease.ttl.as_secs()))
                .returning("claim_expires_at");
            // What never answers must not keep the other leases from being renewed.
            match session.rows_within(renew, ANSWER) {
                Ok(_) => session.put_off(&id, &lease, lease.ttl / 3),
                Err(failure) => match failure.code {
                    Code::ClaimLost | Code::BadTransition | Code::NotFound => {
                        session.lose(&id, &lease, &failure.message);
                    }
                    // Whatever it is, it may pass before the lease ends.
                    _ => session.put_off(&id, &lease, PAUSE.min(lease.ttl / 10)),
                },
            }
        }
    });
}
