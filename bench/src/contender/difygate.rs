//! difygate with nothing but what it must be told: its defaults are what people run. As the documentation of
//! `max_concurrent` asks, it is told how many connections an instance serves.

use rustix::process::Signal;

use crate::contender::{APP_KEY, Contender, SLOTS, Scene, gateway};

const TOKEN: &str = "usertoken--shop";

pub(super) const CONTENDER: Contender = Contender {
    name: "difygate",
    program: gateway,
    version: &["--version"],
    token: TOKEN,
    reload: Signal::HUP,
    configure,
};

fn configure(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let Scene { listen, admin, .. } = scene;
    let instances = scene.lines(|number, addr, weight| {
        format!(
            "      - {{ name: dify{number}, url: \"http://{addr}\", token: {APP_KEY}, \
             max_concurrent: {SLOTS}, weight: {weight} }}\n"
        )
    });
    let text = format!(
        "listen: {listen}\nadmin: {{ listen: \"{admin}\" }}\naccess_log: off\napps:\n  shop:\n    \
         user_tokens: [{TOKEN}]\n    instances:\n{instances}"
    );
    let path = scene.write("difygate.yaml", &text)?;
    Ok(vec!["serve".to_owned(), "--config".to_owned(), path])
}
