//! The table of agents is that of the program, and their files are where it says.

use mosaic_backlog_tests::folder;
use mosaic_backlog_tests::program::mosaic;

use super::page::{plain, quoted};
use super::{Faults, page};

#[test]
fn the_agents_and_their_files_are_those_of_the_program() {
    let page = page("docs/setup.md");
    let section = page.section("Agents and their files");
    let rows = section.tables("Agent").flat_map(|table| &table.rows);
    let mut faults = Faults::default();
    let mut names = Vec::new();
    let folder = folder::create();
    for row in rows {
        let name = plain(&row[1]);
        let home = folder.join(&name).join("home");
        let repository = folder.join(&name).join("repository");
        for folder in [&home, &repository.join(".git")] {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        let call = |arguments: &[&str]| {
            let mut all = vec!["init", "--json", "--agents", &name];
            all.extend(arguments);
            mosaic(&all)
                .env("HOME", &home)
                .env("MOSAIC_HOME", folder.join("mosaic"))
                .within(&repository)
                .json()
        };
        call(&["--user"]);
        call(&["--primer", "none"]);
        let (user, project) = row[2].split_once(';').expect("two files");
        let user = quoted(user)[0].replace("~/", "");
        for file in [home.join(user), repository.join(&quoted(project)[0])] {
            if !file.is_file() {
                faults.add(format!("{name}: there is no {}", file.display()));
            }
        }
        names.push(name);
    }
    let refused = mosaic(&["init", "--user", "--json", "--agents", "nobody"]);
    let detail = refused.run().json(2)["error"]["detail"].clone();
    let real = format!("They are {}; or all, or none.", names.join(", "));
    faults.expect(
        "the names",
        detail.as_str().unwrap_or_default(),
        real.as_str(),
    );
    faults.none();
}
