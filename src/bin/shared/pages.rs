//! The manual pages and the completions in `packaging/`, held against the command line that they are about.
//!
//! They are files, so that a package is made without running what it contains, and this is what keeps them from going
//! stale: `TFTPKIT_WRITE=1 cargo test --bins packaged` writes them anew.

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Fails unless `packaging/man` and `packaging/completions` have of `program` what its command line says, and no more.
pub(crate) fn compare(program: &str, mut command: Command, section: &str) {
    command.build();
    let mut pages = BTreeMap::new();
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command.clone(), program, &mut text);
        let name = match shell {
            Shell::Zsh => format!("_{program}"),
            other => format!("{program}.{other}"),
        };
        pages.insert(format!("completions/{name}"), text);
    }
    manual(&command, section, &mut pages);
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let write = std::env::var_os("TFTPKIT_WRITE").is_some();
    for (name, text) in &pages {
        let path = packaging.join(name);
        if write {
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(&path, text).expect("written");
        }
        let same = std::fs::read(&path).is_ok_and(|there| there == *text);
        assert!(same, "packaging/{name} is stale: TFTPKIT_WRITE=1 cargo test --bins packaged");
    }
    let there = std::fs::read_dir(packaging.join("man")).expect("the pages").flatten();
    let there = there.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let of_it = |name: &String| name.split(['.', '-']).next() == Some(program);
    let old = |name: &String| of_it(name) && !pages.contains_key(&format!("man/{name}"));
    assert_eq!(there.filter(old).collect::<Vec<_>>(), Vec::<String>::new(), "nobody makes them");
}

/// The page of a command, and those of the commands below it.
fn manual(command: &Command, section: &str, pages: &mut BTreeMap<String, Vec<u8>>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let text = page(command, &name, section).expect("memory");
    pages.insert(format!("man/{name}.{section}"), text);
    let below = command.get_subcommands();
    for command in below.filter(|one| !one.is_hide_set() && one.get_name() != "help") {
        manual(command, section, pages);
    }
}

fn page(command: &Command, name: &str, section: &str) -> io::Result<Vec<u8>> {
    // All options are told of below.
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    let page = Man::new(command.clone().override_usage(usage)).title(name).section(section);
    let page = page.source(concat!("tftpkit ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    let behind = command.get_after_long_help().or_else(|| command.get_after_help());
    text.extend(behind.map(|behind| notes(&behind.to_string())).unwrap_or_default().bytes());
    Ok(text)
}

/// What stands behind the options in the help, where lines that are farther in stay as they are.
fn notes(help: &str) -> String {
    let mut text = ".SH NOTES\n".to_owned();
    let mut is_as_it_is = false;
    for line in help.lines() {
        let is_in = line.starts_with("  ");
        if is_in != is_as_it_is && !line.is_empty() {
            text += if is_in { ".nf\n" } else { ".fi\n" };
            is_as_it_is = is_in;
        }
        let escaped = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        match escaped.strip_suffix(':').filter(|_| !is_in) {
            Some(heading) => text += &format!(".SS {heading}\n"),
            None if line.is_empty() => text += ".PP\n",
            None => text += &format!("\\&{escaped}\n"),
        }
    }
    text + if is_as_it_is { ".fi\n" } else { "" }
}
