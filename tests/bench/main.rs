//! Measures the backlog beside floors, the textbook statement and other queues; `run` calls it.

mod arguments;
mod peers;
mod pgbench;
mod plot;
mod report;
mod server;
mod workload;

fn main() {
    let arguments = arguments::parse();
    let server = server::Server::start();
    let mut report = report::Report::new(&server, &arguments);
    for (name, measure) in workload::ALL {
        if arguments.wants(name) {
            eprintln!("{name}");
            measure(&server, &arguments, &mut report);
            if arguments.write {
                report.write();
            }
        }
    }
    report.print();
}
