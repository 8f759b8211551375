package deploy_test

import (
	"net/url"
	"slices"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// connection is one that a pod of workload from makes to a port of workload to.
type connection struct{ from, to, port string }

// needed lists the connections between pods that the settings call for.
func (r *rendering) needed(t *testing.T) map[connection]bool {
	t.Helper()
	out := map[connection]bool{}
	for _, c := range r.servers() {
		for setting, u := range addresses(t, c.where, r.environment(t, c)) {
			if to, port, ok := r.lookUp(t, c, setting, u); ok {
				out[connection{c.workload.name, to.name, port}] = true
			}
		}
	}
	return out
}

// lookUp finds the pods and the port that a URL leads to. Stores outside of the
// cluster are none.
func (r *rendering) lookUp(t *testing.T, c container, setting string, u *url.URL) (to workload, port string, ok bool) {
	t.Helper()
	target, internal, ours := internalPort(t, setting)
	s, found := named[*corev1.Service](r, u.Hostname())
	if !found {
		if ours || len(all[*corev1.Secret](r)) > 0 {
			t.Errorf("%s: %s leads to %s, which is no service", c.where, setting, u.Host)
		}
		return to, "", false
	}
	if ours && (s.Name != target.name || u.Port() != strconv.Itoa(internal)) {
		t.Errorf("%s: %s leads to %s, not to the internal port %d of %s", c.where, setting, u.Host, internal, target.name)
	}
	i := slices.IndexFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return strconv.Itoa(int(p.Port)) == u.Port() })
	if i < 0 {
		t.Errorf("%s: %s leads to %s, but the service has no such port", c.where, setting, u.Host)
		return to, "", false
	}
	to, ok = r.only(t, objectName(s), s.Spec.Selector)
	return to, s.Spec.Ports[i].TargetPort.StrVal, ok
}

func TestPodsCanConnectWhereTheirSettingsLeadAndNowhereElse(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		needed := r.needed(t)
		for _, from := range r.workloads {
			for _, to := range r.workloads {
				for port := range containerPorts(to.template.Spec.Containers[0]) {
					if port == "public" {
						continue
					}
					c := connection{from.name, to.name, port}
					if got := r.allows(t, peer{pod: from.template.Labels}, to, port); got != needed[c] {
						t.Errorf("%v: allowed %v, needed %v", c, got, needed[c])
					}
				}
			}
		}
	})
}

func TestPodsMayConnectToWhatTheirSettingsLeadTo(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		needed := r.needed(t)
		for _, c := range r.servers() {
			if !r.letsOut(t, c.workload, nil, "53") {
				t.Errorf("%s cannot ask for names", c.where)
			}
			for setting, u := range addresses(t, c.where, r.environment(t, c)) {
				if _, _, ours := internalPort(t, setting); !ours && !r.letsOut(t, c.workload, nil, u.Port()) {
					t.Errorf("%s cannot connect to %s, port %s", c.where, setting, u.Port())
				}
			}
			for _, to := range r.servers() {
				for port := range containerPorts(to.Container) {
					want := needed[connection{c.workload.name, to.workload.name, port}]
					if got := r.letsOut(t, c.workload, to.workload.template.Labels, port); got != want {
						t.Errorf("%s to port %s of %s: let out %v, needed %v", c.where, port, to.where, got, want)
					}
				}
			}
		}
		for _, w := range r.workloads {
			if r.letsOut(t, w, nil, "443") {
				t.Errorf("%s may connect anywhere", w.name)
			}
		}
	})
}

// letsOut says whether the policies let the pods of a workload connect to a port: of
// the pods with these labels, or where these are nil anywhere.
func (r *rendering) letsOut(t *testing.T, from workload, to map[string]string, port string) bool {
	t.Helper()
	selected := false
	for _, p := range all[*networkingv1.NetworkPolicy](r) {
		if !matches(t, &p.Spec.PodSelector, from.template.Labels) || !slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) {
			continue
		}
		selected = true
		for _, rule := range p.Spec.Egress {
			hasPort := slices.ContainsFunc(rule.Ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.String() == port })
			anywhere := len(rule.To) == 0 && to == nil
			there := to != nil && slices.ContainsFunc(rule.To, func(p networkingv1.NetworkPolicyPeer) bool {
				return p.PodSelector != nil && matches(t, p.PodSelector, to)
			})
			if hasPort && (anywhere || there) {
				return true
			}
		}
	}
	return !selected
}

func TestPublicPortsAndMetricsAreReachedFromOutside(t *testing.T) {
	t.Parallel()
	proxy, monitoring := namespace("haproxy-controller"), namespace("monitoring")
	eachRendering(t, func(t *testing.T, r *rendering) {
		for _, c := range r.servers() {
			for port := range containerPorts(c.Container) {
				if got, want := r.allows(t, proxy, c.workload, port), port == "public"; got != want {
					t.Errorf("%s, port %s, from the ingress controller: allowed %v, want %v", c.where, port, got, want)
				}
				if port == "public" {
					continue
				}
				if got, want := r.allows(t, monitoring, c.workload, port), port == "ops"; got != want {
					t.Errorf("%s, port %s, from Prometheus: allowed %v, want %v", c.where, port, got, want)
				}
			}
		}
	})
}

func TestInProductionOnlyTheIngressControllerReachesPublicPorts(t *testing.T) {
	t.Parallel()
	r := render(t, manifests+"/overlays/production")
	for _, c := range r.servers() {
		for _, from := range []peer{namespace("elsewhere"), {pod: c.workload.template.Labels}} {
			if r.allows(t, from, c.workload, "public") {
				t.Errorf("%s: %v may connect, and claim any address in X-Forwarded-For", c.where, from)
			}
		}
		trusted, has := c.program.setting("TRUSTED_PROXIES", r.environment(t, c))
		if has && trusted == "" {
			t.Errorf("%s: TRUSTED_PROXIES is empty, so that all clients have the ingress controller's address", c.where)
		}
	}
}

func TestNodesOfARedisClusterAreReachedByTheServicesAndTalkAmongThemselves(t *testing.T) {
	t.Parallel()
	r := render(t, "testdata/redis-cluster")
	node, ok := r.only(t, "the policy", map[string]string{"app.kubernetes.io/name": "redis-cluster"})
	if !ok {
		t.Fatal("there are no nodes")
	}
	for port, want := range map[string]struct{ services, nodes bool }{
		"6379": {true, true}, "16379": {false, true}, "22": {false, false},
	} {
		for _, from := range r.workloads {
			may := want.services
			if from.name == node.name {
				may = want.nodes
			}
			if got := r.allows(t, peer{pod: from.template.Labels}, node, port); got != may {
				t.Errorf("%s to port %s of a node: let in %v, want %v", from.name, port, got, may)
			}
			out := r.letsOut(t, from, node.template.Labels, port) || r.letsOut(t, from, nil, port)
			if out != may {
				t.Errorf("%s to port %s of a node: let out %v, want %v", from.name, port, out, may)
			}
		}
		if r.allows(t, namespace("monitoring"), node, port) || r.allows(t, peer{pod: map[string]string{"app": "stranger"}}, node, port) {
			t.Errorf("anybody may connect to port %s of a node", port)
		}
	}
	if !r.letsOut(t, node, nil, "53") || r.letsOut(t, node, nil, "6379") {
		t.Error("a node has to ask for names, and may connect to no others")
	}
}

// peer is who connects: a pod of ours, or of another namespace.
type peer struct{ pod, namespace map[string]string }

func namespace(name string) peer {
	return peer{namespace: map[string]string{corev1.LabelMetadataName: name}}
}

// allows evaluates the policies as Kubernetes does: pods that no policy selects take
// every connection, the others only what one of them allows.
func (r *rendering) allows(t *testing.T, from peer, to workload, port string) bool {
	t.Helper()
	selected := false
	for _, p := range all[*networkingv1.NetworkPolicy](r) {
		if !matches(t, &p.Spec.PodSelector, to.template.Labels) {
			continue
		}
		selected = true
		for _, rule := range p.Spec.Ingress {
			if rulePort(rule, port) && ruleFrom(t, rule, from) {
				return true
			}
		}
	}
	return !selected
}

func rulePort(rule networkingv1.NetworkPolicyIngressRule, port string) bool {
	return len(rule.Ports) == 0 || slices.ContainsFunc(rule.Ports, func(p networkingv1.NetworkPolicyPort) bool {
		return p.Port == nil || p.Port.String() == port
	})
}

func ruleFrom(t *testing.T, rule networkingv1.NetworkPolicyIngressRule, from peer) bool {
	t.Helper()
	return len(rule.From) == 0 || slices.ContainsFunc(rule.From, func(p networkingv1.NetworkPolicyPeer) bool {
		if p.NamespaceSelector == nil {
			return from.namespace == nil && matches(t, p.PodSelector, from.pod)
		}
		return from.namespace != nil && p.PodSelector == nil && matches(t, p.NamespaceSelector, from.namespace)
	})
}

func TestPoliciesNameWhatThereIs(t *testing.T) {
	t.Parallel()
	eachRendering(t, func(t *testing.T, r *rendering) {
		for _, p := range all[*networkingv1.NetworkPolicy](r) {
			targets := r.selected(t, &p.Spec.PodSelector)
			if len(targets) == 0 {
				t.Errorf("%s selects no pods", objectName(p))
			}
			for _, rule := range p.Spec.Ingress {
				checkRule(t, r, objectName(p), targets, rule)
			}
		}
	})
}

func checkRule(t *testing.T, r *rendering, policy string, targets []workload, rule networkingv1.NetworkPolicyIngressRule) {
	t.Helper()
	for _, port := range rule.Ports {
		for _, w := range targets {
			if _, ok := containerPorts(w.template.Spec.Containers[0])[port.Port.StrVal]; !ok {
				t.Errorf("%s: %s has no port %v", policy, w.name, port.Port)
			}
		}
	}
	for _, from := range rule.From {
		if from.PodSelector != nil && len(r.selected(t, &metav1.LabelSelector{MatchLabels: from.PodSelector.MatchLabels})) != 1 {
			t.Errorf("%s: %v are the pods of no workload", policy, from.PodSelector.MatchLabels)
		}
	}
}
