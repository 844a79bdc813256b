//! difygate with what people write, one worker, and no probes: the others have none here.

use std::fmt::Write;

use rustix::process::Signal;

use crate::contender::{Contender, Scene, gateway};
use crate::speed::entry::Entry;
use crate::speed::scene::{Setup, key};

pub(super) const ENTRY: Entry = Entry { name: "difygate", setup, leaves: |_| None };

fn setup(setup: Setup) -> Contender {
    Contender {
        name: "difygate",
        program: gateway,
        version: &["--version"],
        token: "",
        reload: Signal::HUP,
        configure: match setup {
            Setup::Plain => |scene| configure(scene, Setup::Plain),
            Setup::Full => |scene| configure(scene, Setup::Full),
            Setup::Many => |scene| configure(scene, Setup::Many),
        },
    }
}

fn configure(scene: &Scene, setup: Setup) -> anyhow::Result<Vec<String>> {
    let (listen, admin, folder) = (scene.listen, scene.admin, scene.folder.display());
    let mut text = format!(
        "listen: {listen}\nadmin: {{ listen: \"{admin}\" }}\nworkers: 1\naccess_log: off\n\
         probe: {{ enabled: false }}\nstore: {{ path: {folder}/store }}\nspool_dir: {folder}\napps:\n"
    );
    let (apps, _, _) = setup.size();
    let mut tokens = vec![Vec::new(); apps];
    for (token, app) in setup.tokens() {
        if let Some(tokens) = tokens.get_mut(app) {
            tokens.push(token);
        }
    }
    for (app, tokens) in tokens.iter().enumerate() {
        let tokens = tokens.join(", ");
        let _ = write!(text, "  app{app:04}:\n    user_tokens: [{tokens}]\n    instances: [");
        // As short as can be: a configuration may have 4 MiB.
        for (number, addr) in scene.instances.iter().enumerate() {
            let (key, weight) =
                (key(app, number), if (app, number) == (0, 0) { scene.weight } else { 1 });
            let _ = write!(text, "{{name: d{number},url: http://{addr},token: {key}");
            let _ = match setup {
                Setup::Many if weight == 1 => text.write_str("},"),
                Setup::Many => write!(text, ",weight: {weight}}},"),
                _ => write!(text, ",weight: {weight},max_concurrent: 20000}},"),
            };
        }
        text.push_str("]\n");
    }
    let path = scene.write("difygate.yaml", &text)?;
    Ok(vec!["serve".to_owned(), "--config".to_owned(), path])
}
