//! `deploy/kubernetes.yaml`: the container's command runs as a process, with the probes of the kubelet. `tests/all.sh`
//! checks the schemas.

use serde_json::Value;

use crate::cluster::Database;
use crate::dockerfile::Dockerfile;
use crate::process::{ADMIN, ASKS_FOR_KEYS, Environment, Served, curl, secrets, statuses};
use crate::read;

fn load() -> Vec<Value> {
    serde_saphyr::from_multiple(&read("deploy/kubernetes.yaml")).unwrap()
}

fn the<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

/// The variables of the container: from the image, the ConfigMap and the secrets, of which the database has this URL.
fn environment(objects: &[Value], url: &str) -> Environment {
    let container = container(the(objects, "Deployment"));
    let config = the(objects, "ConfigMap");
    assert_eq!(container["envFrom"][0]["configMapRef"]["name"], config["metadata"]["name"]);
    let mut environment = Dockerfile::load().environment();
    for (name, value) in config["data"].as_object().unwrap() {
        environment.insert(name.clone(), value.as_str().expect("text, as the API wants it").to_owned());
    }
    for variable in container["env"].as_array().unwrap() {
        let secret = match variable["valueFrom"]["secretKeyRef"]["name"].as_str() {
            Some("runlog-database") => url,
            Some("runlog-admin-key") => ADMIN,
            _ => panic!("the manifest holds no secret: {variable}"),
        };
        environment.insert(variable["name"].as_str().unwrap().to_owned(), secret.to_owned());
    }
    environment
}

#[tokio::test(flavor = "multi_thread")]
async fn the_container_starts_and_passes_each_probe() {
    let Some(database) = Database::create().await else { return };
    let objects = load();
    let container = container(the(&objects, "Deployment"));
    let args = container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
    let mut environment = environment(&objects, &database.url());
    let secrets = secrets();
    mount(&objects, &mut environment, secrets.path().to_str().unwrap());
    let server = Served::start(&Dockerfile::load().command(Some(args)), &environment).await;
    let port = &container["ports"][0]["containerPort"];
    // Alive is not ready, which includes the store: an outage of the database must not kill pods.
    let probes = [("startupProbe", "live"), ("livenessProbe", "live"), ("readinessProbe", "ready")];
    for (probe, status) in probes {
        let get = &container[probe]["httpGet"];
        assert_eq!((&get["port"], &get["scheme"]), (port, &"HTTPS".into()), "{probe}");
        // The kubelet calls the address of the pod, without a key, and takes any certificate.
        let url = format!("https://127.0.0.1:{}{}", server.address.port(), get["path"].as_str().unwrap());
        assert_eq!(curl(&["--insecure", &url]).await, format!("{{\"status\":\"{status}\"}}\n\n200"), "{probe}");
    }
    let ca = secrets.path().join("ca.crt");
    assert_eq!(statuses(&server.tls_url(), &["--cacert", ca.to_str().unwrap()]).await, ASKS_FOR_KEYS);
    server.stop("SIGTERM").await;
}

/// Puts this directory in place of the volume with the certificate, as `kubectl create secret tls` makes it.
fn mount(objects: &[Value], environment: &mut Environment, directory: &str) {
    let deployment = the(objects, "Deployment");
    let (volume, mounted) =
        (&deployment["spec"]["template"]["spec"]["volumes"][0], &container(deployment)["volumeMounts"][0]);
    assert_eq!((&volume["name"], &volume["secret"]["secretName"]), (&mounted["name"], &"runlog-tls".into()));
    assert!(mounted["subPath"].is_null(), "such a file is never renewed");
    let path = mounted["mountPath"].as_str().unwrap();
    for (variable, file) in [("RUNLOG_TLS_CERT", "tls.crt"), ("RUNLOG_TLS_KEY", "tls.key")] {
        let value = environment.get_mut(variable).unwrap();
        assert_eq!(*value, format!("{path}/{file}"));
        *value = format!("{directory}/{file}");
    }
}

#[test]
fn the_grace_period_holds_the_pause_and_the_drain() {
    let objects = load();
    let deployment = the(&objects, "Deployment");
    let pause = container(deployment)["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    let drain_ms: u64 = environment(&objects, "")["RUNLOG_DRAIN_TIMEOUT_MS"].parse().unwrap();
    let grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace * 1_000 > pause * 1_000 + drain_ms, "{grace} s for {pause} s and {drain_ms} ms");
}

#[test]
fn the_pods_meet_the_restricted_security_standard() {
    let objects = load();
    let pod = &the(&objects, "Deployment")["spec"]["template"]["spec"];
    let (of_pod, of_container) = (&pod["securityContext"], &pod["containers"][0]["securityContext"]);
    assert_eq!((&of_pod["runAsNonRoot"], &of_pod["seccompProfile"]["type"]), (&true.into(), &"RuntimeDefault".into()));
    assert_eq!(of_container["allowPrivilegeEscalation"], false);
    assert_eq!(of_container["capabilities"], serde_json::json!({"drop": ["ALL"]}));
    assert_eq!(of_container["readOnlyRootFilesystem"], true);
    let (user, group) = (of_pod["runAsUser"].to_string(), of_pod["runAsGroup"].to_string());
    assert_eq!(format!("{user}:{group}"), Dockerfile::load().user());
}

#[test]
fn every_selector_finds_the_pods_and_every_port_is_theirs() {
    let objects = load();
    let deployment = the(&objects, "Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let port = &container(deployment)["ports"][0]["name"];
    let mut services = 0;
    for object in &objects {
        let spec = &object["spec"];
        match object["kind"].as_str().unwrap() {
            "Service" => {
                services += 1;
                assert_eq!((&spec["selector"], &spec["ports"][0]["targetPort"]), (labels, port));
                assert_eq!(spec["ports"][0]["appProtocol"], "https");
            }
            "NetworkPolicy" => {
                assert_eq!(
                    (&spec["podSelector"]["matchLabels"], &spec["ingress"][0]["ports"][0]["port"]),
                    (labels, port)
                );
            }
            "Deployment" | "PodDisruptionBudget" => assert_eq!(&spec["selector"]["matchLabels"], labels),
            _ => {}
        }
    }
    assert_eq!(services, 2);
}
