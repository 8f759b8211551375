package deploy_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestEveryPodGetsTheSettingsThatItsCodeReads(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		seen := map[string]bool{}
		for _, c := range r.containers() {
			env := r.environment(t, c)
			if c.ours {
				seen[c.program.name] = true
				c.program.checkEnvironment(t, c.where, env)
			}
		}
		for _, p := range programs {
			if !seen[p.name] {
				t.Errorf("no pod runs %s", p.name)
			}
		}
	})
}

func TestMigrationsRunBeforeThePodsThatNeedThem(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		migrations := map[string]container{}
		for _, c := range r.containers() {
			if c.ours && c.init {
				migrations[c.program.name] = c
			}
		}
		for _, c := range r.servers() {
			m, has := migrations[c.program.name]
			if has != c.program.migrates() {
				t.Errorf("%s: migrates first: %v, want %v", c.where, has, c.program.migrates())
			}
			if !has {
				continue
			}
			if m.workload.name != c.workload.name || m.Image != c.Image || !slices.Equal(m.Args, []string{"migrate"}) || m.Command != nil {
				t.Errorf("%s: runs %v of %s, want [migrate] of %s", m.where, m.Args, m.Image, c.Image)
			}
			if diff := cmp.Diff(r.environment(t, c), r.environment(t, m)); diff != "" {
				t.Errorf("%s: other settings than those of the server:\n%s", m.where, diff)
			}
		}
	})
}

func TestServersRunWithoutArguments(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		for _, c := range r.servers() {
			if c.Command != nil || c.Args != nil {
				t.Errorf("%s: runs %v %v instead of what its image says", c.where, c.Command, c.Args)
			}
		}
	})
}

// secretKey is a key of a secret, the secret's name without kustomize's hash.
type secretKey struct{ secret, key string }

var hashSuffix = regexp.MustCompile(`-[a-z0-9]{10}$`)

// secretsOf lists what the containers that keep lets through read from secrets.
func (r *rendering) secretsOf(keep func(container) bool) map[secretKey]bool {
	out := map[secretKey]bool{}
	for _, c := range r.containers() {
		for _, e := range c.Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && keep(c) {
				ref := e.ValueFrom.SecretKeyRef
				out[secretKey{hashSuffix.ReplaceAllString(ref.Name, ""), ref.Key}] = true
			}
		}
	}
	return out
}

func TestConfigurationIsReadBySomebody(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		used := r.secretsOf(func(container) bool { return true })
		for _, s := range all[*corev1.Secret](r) {
			for key := range s.Data {
				if !used[secretKey{hashSuffix.ReplaceAllString(s.Name, ""), key}] {
					t.Errorf("nobody reads key %s of secret %s", key, s.Name)
				}
			}
		}
		for _, config := range all[*corev1.ConfigMap](r) {
			if config.Labels["grafana_dashboard"] == "" && !r.usesConfig(config.Name) {
				t.Errorf("nobody reads ConfigMap %s", config.Name)
			}
		}
	})
}

func (r *rendering) usesConfig(name string) bool {
	for _, c := range r.containers() {
		for _, from := range c.EnvFrom {
			if from.ConfigMapRef != nil && from.ConfigMapRef.Name == name {
				return true
			}
		}
	}
	for _, w := range r.workloads {
		for _, v := range w.template.Spec.Volumes {
			if v.ConfigMap != nil && v.ConfigMap.Name == name {
				return true
			}
		}
	}
	return false
}

func TestOnlyTheLocalOverlayHasSecretsAndTheyLookLocal(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		secrets := all[*corev1.Secret](r)
		if r.name != "local" && len(secrets) > 0 {
			t.Errorf("%d secrets come with it", len(secrets))
		}
		for _, s := range secrets {
			for key, value := range s.Data {
				if !strings.Contains(string(value), "local-only-") {
					t.Errorf("key %s of secret %s could be taken for a real one", key, s.Name)
				}
			}
		}
	})
}

// baseSecrets and productionSecrets are how the kustomizations tell the operator
// which secrets to make.
var (
	baseSecrets       = regexp.MustCompile(`(?m)^#   (\w+) +([A-Z_ ]+)$`)
	productionSecrets = regexp.MustCompile(`(?m)^# .* create secret generic (\w+) (.*)$`)
	literal           = regexp.MustCompile(`--from-literal=([A-Z_]+)=`)
)

func TestTheSecretsToMakeAreSaid(t *testing.T) {
	t.Parallel()
	want := render(t, manifests+"/overlays/production").secretsOf(func(container) bool { return true })
	inBase, inProduction := map[secretKey]bool{}, map[secretKey]bool{}
	for _, m := range baseSecrets.FindAllStringSubmatch(read(t, "deploy/k8s/base/kustomization.yaml"), -1) {
		for _, key := range strings.Fields(m[2]) {
			inBase[secretKey{m[1], key}] = true
		}
	}
	for _, m := range productionSecrets.FindAllStringSubmatch(read(t, "deploy/k8s/overlays/production/kustomization.yaml"), -1) {
		for _, key := range literal.FindAllStringSubmatch(m[2], -1) {
			inProduction[secretKey{m[1], key[1]}] = true
		}
	}
	if !maps.Equal(want, inBase) {
		t.Errorf("the base says %v, want %v", inBase, want)
	}
	if !maps.Equal(want, inProduction) {
		t.Errorf("the production overlay says %v, want %v", inProduction, want)
	}
}

func TestTheLocalStoresHaveThePasswordsThatTheServicesUse(t *testing.T) {
	t.Parallel()
	r := render(t, manifests+"/overlays/local")
	stores := map[string]string{}
	for _, c := range r.containers() {
		if !c.ours {
			maps.Copy(stores, r.environment(t, c))
		}
	}
	for _, c := range r.servers() {
		for setting, u := range addresses(t, c.where, r.environment(t, c)) {
			password, _ := u.User.Password()
			switch setting {
			case "DATABASE_URL":
				if u.User.Username() != c.program.name || password != stores[strings.ToUpper(c.program.name)+"_DB_PASSWORD"] || u.Path != "/"+stores["POSTGRES_DB"] {
					t.Errorf("%s: its %s is not what Postgres is set up with", c.where, setting)
				}
			case "REDIS_URL":
				if password != stores["REDISCLI_AUTH"] {
					t.Errorf("%s: its %s is not what Redis is set up with", c.where, setting)
				}
			}
		}
	}
}
