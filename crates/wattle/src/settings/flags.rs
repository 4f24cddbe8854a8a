//! Flags as a layer of settings: clap's arguments, made from the table.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::layer::{Layer, Origin};
use super::table::{HOST_PORTS, Key, LABEL_PREFIXES, Name, ROWS, Row, Scope};
use super::value::{Kind, Value};

/// The flags that every command has: which lattice, and how to reach it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionFlags(pub Layer);

/// The flags of commands that run a host.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostFlags(pub Layer);

macro_rules! flags {
    ($name:ident, $scope:expr) => {
        impl FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                read(matches, $scope).map(Self)
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.0 = read(matches, $scope)?;
                Ok(())
            }
        }

        impl Args for $name {
            fn augment_args(command: Command) -> Command {
                command.args(arguments($scope))
            }

            fn augment_args_for_update(command: Command) -> Command {
                Self::augment_args(command)
            }
        }
    };
}

flags!(ConnectionFlags, Scope::Connection);
flags!(HostFlags, Scope::Host);

fn arguments(scope: Scope) -> impl Iterator<Item = Arg> {
    ROWS.iter().filter(move |row| row.scope == scope).filter_map(|row| Some(argument(row, row.flag?)))
}

fn argument(row: &'static Row, flag: &'static str) -> Arg {
    let kind = row.kind;
    let arg = Arg::new(row.id())
        .long(flag)
        .help(row.help)
        .long_help(long_help(row))
        .value_name(value_name(kind))
        .hide_short_help(row.seldom)
        .value_parser(move |text: &str| as_written(kind).parse(text));
    let arg = match row.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    let arg = match row.scope {
        Scope::Connection => arg.global(true).help_heading("Lattice"),
        Scope::Host => arg.help_heading("Host"),
    };
    match kind {
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        kind if kind.is_list() || kind == Kind::Pairs => arg.action(ArgAction::Append),
        _ => arg,
    }
}

fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Switch => "true|false",
        Kind::Path => "PATH",
        Kind::Urls => "URL",
        Kind::RegistryName | Kind::RegistryNames => "REGISTRY",
        Kind::Pairs => "KEY=VALUE",
        Kind::Seed(_) => "SEED",
        Kind::Keys(_) | Kind::Issuers(_) => "KEY",
        Kind::Duration | Kind::Millis => "TIME",
        Kind::Bytes => "BYTES",
        Kind::Count => "NUMBER",
        Kind::Address => "ADDRESS",
        Kind::LogFormat => "text|json",
        _ => "TEXT",
    }
}

fn long_help(row: &Row) -> String {
    let mut help = row.help.to_owned();
    if matches!(row.kind, Kind::Secret | Kind::Seed(_)) {
        help.push_str(
            ". A flag shows in the list of processes: the environment or the config file keeps it secret",
        );
    }
    if !row.default.is_empty() {
        help.push_str(&format!("\n[default: {}]", row.default));
    }
    let (variables, fields) = names(row);
    if !variables.is_empty() {
        help.push_str(&format!("\n[environment: {}]", variables.join(", ")));
    }
    if !fields.is_empty() {
        help.push_str(&format!("\n[host's config file: {}]", fields.join(", ")));
    }
    help
}

/// Clap's messages repeat what was typed. What may hold a secret is therefore taken as it is, and checked afterwards.
fn as_written(kind: Kind) -> Kind {
    match kind {
        Kind::Seed(_) => Kind::Secret,
        Kind::Urls => Kind::List,
        kind => kind,
    }
}

/// All environment variables and config fields that say what a row is about.
fn names(row: &Row) -> (Vec<String>, Vec<String>) {
    let named = |names: &[Name]| names.iter().map(|name| name.name.to_owned()).collect::<Vec<_>>();
    let (mut variables, mut fields) = (named(row.env), named(row.file));
    if row.key == Key::Labels {
        variables.extend(LABEL_PREFIXES.iter().map(|(prefix, _)| format!("{prefix}name=value")));
    }
    for pair in HOST_PORTS.iter().filter(|pair| pair.key == row.key) {
        variables.extend(pair.env.iter().map(|(host, port)| format!("{host} with {port}")));
        fields.push(format!("{} with {}", pair.file.0, pair.file.1));
    }
    (variables, fields)
}

fn read(matches: &ArgMatches, scope: Scope) -> Result<Layer, clap::Error> {
    let mut layer = Layer::default();
    for row in ROWS.iter().filter(|row| row.scope == scope) {
        let Some(flag) = row.flag else { continue };
        let values = matches.try_get_many::<Value>(row.id()).ok().flatten();
        for value in values.into_iter().flatten() {
            let value = match value {
                Value::Secret(text) if row.kind.may_hold_a_secret() => row.kind.parse(text),
                Value::List(texts) if row.kind.may_hold_a_secret() => row.kind.parse_list(texts.clone()),
                value => Ok(value.clone()),
            };
            let refused = |why| clap::Error::raw(ErrorKind::ValueValidation, format!("--{flag}: {why}\n"));
            layer.add(row.key, value.map_err(refused)?, Origin::Flag(flag));
        }
    }
    Ok(layer)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::settings::layer::Settings;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        host: HostFlags,
    }

    fn read_line(words: &[&str]) -> Result<Settings, clap::Error> {
        let line = Line::try_parse_from(std::iter::once("wattle").chain(words.iter().copied()))?;
        Ok(Settings::new([line.host.0]))
    }

    #[test]
    fn switches_stand_alone_or_say_what_they_mean() {
        let settings = read_line(&["--allow-latest", "--component-auction=false"]).unwrap();
        assert_eq!(settings.switch(Key::AllowLatest), Some(true));
        assert_eq!(settings.switch(Key::ComponentAuction), Some(false));
        assert_eq!(settings.switch(Key::AllowFileLoad), None);
    }

    #[test]
    fn repeated_flags_add_up() {
        let settings =
            read_line(&["--label", "a=1", "-l", "b=2", "--allow-insecure", "x,y", "--allow-insecure", "z"]);
        let settings = settings.unwrap();
        assert_eq!(settings.labels().len(), 2);
        assert_eq!(settings.list(Key::AllowInsecure).unwrap(), ["x", "y", "z"]);
    }

    #[test]
    fn a_bad_value_names_the_flag() {
        let error = read_line(&["--max-memory", "lots"]).map(drop).unwrap_err().to_string();
        assert!(error.contains("--max-memory") && error.contains("lots"), "{error}");
        let error = read_line(&["--cluster-seed", "SCSECRET"]).map(drop).unwrap_err().to_string();
        assert!(error.contains("--cluster-seed") && !error.contains("SCSECRET"), "{error}");
        let error = read_line(&["--rpc-url", "nats://ada:hunter2@hub"]).map(drop).unwrap_err().to_string();
        assert!(error.contains("--rpc-url") && !error.contains("hunter2"), "{error}");
        let error = read_line(&["--allow-insecure", "http://hub"]).map(drop).unwrap_err().to_string();
        assert!(error.contains("--allow-insecure") && error.contains("http://hub"), "{error}");
    }
}
