//! Gives apps the model ids that Dify has for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::{App, Config};
use crate::model::AppName;

/// Gives each app that Dify names the id that is made of its name, where that is known. `before` is what ran
/// until now: an app whose name stays the same keeps its id.
pub(super) fn apply(config: &mut Config, names: &BTreeMap<AppName, String>, before: &Config) {
    let written = config.apps.iter().filter(|(_, app)| !app.named_by_dify);
    let mut taken: BTreeSet<String> = written
        .flat_map(|(name, app)| {
            let own = app.name_is_model.then(|| name.to_string());
            own.into_iter().chain(app.aliases.iter().cloned())
        })
        .collect();
    let named = config.apps.iter().filter(|(_, app)| app.named_by_dify);
    let named: Vec<_> =
        named.filter_map(|(app, _)| Some((app.clone(), names.get(app)?.as_str()))).collect();
    let mut ids: BTreeMap<AppName, String> = BTreeMap::new();
    for (app, name) in &named {
        if id_of(before, app) == Some(name) && taken.insert((*name).to_owned()) {
            ids.insert(app.clone(), (*name).to_owned());
        }
    }
    for (app, name) in named {
        if ids.contains_key(&app) {
            continue;
        }
        let id = match taken.insert(name.to_owned()) {
            true => name.to_owned(),
            false => apart(name, &app),
        };
        taken.insert(id.clone());
        ids.insert(app, id);
    }
    for (name, app) in &mut config.apps {
        if app.named_by_dify {
            Arc::make_mut(app).aliases = ids.remove(name).into_iter().collect();
        }
    }
}

/// What an app is called whose name another one has already: its key tells it apart, wherever it stands.
fn apart(name: &str, app: &AppName) -> String {
    let mark = app.as_str().rsplit('-').next().unwrap_or_default();
    format!("{name}-{mark}")
}

fn id_of<'c>(config: &'c Config, app: &AppName) -> Option<&'c str> {
    let app: &App = config.apps.get(app)?;
    app.aliases.first().filter(|_| app.named_by_dify).map(String::as_str)
}

/// Says in the log which ids are new.
pub(super) fn log(before: &Config, now: &Config) {
    for (name, _) in now.apps.iter().filter(|(_, app)| app.named_by_dify) {
        match (id_of(before, name), id_of(now, name)) {
            (None, Some(id)) => tracing::info!("the app `{name}` is the model `{id}`"),
            (Some(old), Some(id)) if old != id => {
                tracing::info!("the model `{old}` is now called `{id}`, as Dify calls the app");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::{apply, id_of};
    use crate::config::{Config, Environment, parse};
    use crate::model::AppName;

    fn config(apps: &[&str]) -> Config {
        let app = |name: &&str| {
            format!(
                "  {name}: {{ user_tokens: [t-{name}], instances: [{{ name: i, host: h, token: k }}] }}\n"
            )
        };
        let text = format!("apps:\n{}", apps.iter().map(app).collect::<String>());
        let mut config = parse("x", &text, &Environment::default()).unwrap().config;
        for (name, app) in &mut config.apps {
            let app = Arc::make_mut(app);
            app.named_by_dify = name.as_str().starts_with("dify-");
            app.name_is_model = !app.named_by_dify;
        }
        config
    }

    fn names(names: &[(&str, &str)]) -> BTreeMap<AppName, String> {
        names.iter().map(|(app, name)| (AppName::from(*app), (*name).to_owned())).collect()
    }

    fn ids(config: &Config) -> Vec<Option<&str>> {
        config.apps.keys().map(|name| id_of(config, name)).collect()
    }

    #[test]
    fn apps_of_one_name_are_told_apart_and_who_has_a_name_keeps_it() {
        let written = config(&["shop", "dify-1", "dify-2", "dify-3"]);
        let mut first = written.clone();
        apply(&mut first, &names(&[("dify-2", "help"), ("dify-3", "shop")]), &written);
        assert_eq!(ids(&first), [None, None, Some("help"), Some("shop-3")]);
        // One that answers later does not take the name away.
        let mut second = written.clone();
        let all = names(&[("dify-1", "help"), ("dify-2", "help"), ("dify-3", "shop")]);
        apply(&mut second, &all, &first);
        assert_eq!(ids(&second), [None, Some("help-1"), Some("help"), Some("shop-3")]);
        // Who is renamed leaves it.
        let mut third = written.clone();
        let renamed = names(&[("dify-1", "help"), ("dify-2", "desk"), ("dify-3", "stock")]);
        apply(&mut third, &renamed, &second);
        assert_eq!(ids(&third), [None, Some("help"), Some("desk"), Some("stock")]);
    }
}
