// Gatekeeper's own client of external data providers, and its own evaluation of a ConstraintTemplate that uses one.
//
// It reads one JSON document from standard input and prints one. With keys, it sends them to the provider, once for each
// list. With a template, it reviews each object in turn, with Gatekeeper's cache of responses between them. With a
// folder to issue into, it writes the certificate that Gatekeeper issues for its webhook, and its CA.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	"github.com/open-policy-agent/frameworks/constraint/pkg/apis/externaldata/unversioned"
	"github.com/open-policy-agent/frameworks/constraint/pkg/client"
	"github.com/open-policy-agent/frameworks/constraint/pkg/client/drivers/rego"
	"github.com/open-policy-agent/frameworks/constraint/pkg/client/reviews"
	"github.com/open-policy-agent/frameworks/constraint/pkg/core/templates"
	"github.com/open-policy-agent/frameworks/constraint/pkg/externaldata"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/target"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v1 "github.com/open-policy-agent/frameworks/constraint/pkg/apis/templates/v1"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

const point = "validation.gatekeeper.sh"

type question struct {
	Issue       string                         `json:"issue"`
	Provider    unversioned.Provider           `json:"provider"`
	Certificate string                         `json:"certificate"`
	Key         string                         `json:"key"`
	Keys        [][]string                     `json:"keys"`
	Template    *v1.ConstraintTemplate         `json:"template"`
	Constraint  *unstructured.Unstructured     `json:"constraint"`
	Requests    []admissionv1.AdmissionRequest `json:"requests"`
}

type answer struct {
	Status     int                            `json:"status"`
	Response   *externaldata.ProviderResponse `json:"response,omitempty"`
	Violations []string                       `json:"violations"`
	Error      string                         `json:"error"`
	Seconds    float64                        `json:"seconds"`
}

func main() {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	answers, err := answered(&asked)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		os.Exit(1)
	}
}

func answered(asked *question) ([]answer, error) {
	ctx := context.Background()
	if asked.Issue != "" {
		return []answer{}, issue(asked.Issue)
	}
	var certificate *tls.Certificate
	if asked.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(asked.Certificate, asked.Key)
		if err != nil {
			return nil, err
		}
		certificate = &pair
	}
	if asked.Template != nil {
		return reviewed(ctx, asked)
	}
	answers := []answer{}
	for _, keys := range asked.Keys {
		began := time.Now()
		response, status, err := externaldata.DefaultSendRequestToProvider(ctx, &asked.Provider, keys, certificate)
		found := answer{Status: status, Response: response, Seconds: time.Since(began).Seconds()}
		if err != nil {
			found.Error = err.Error()
		}
		answers = append(answers, found)
	}
	return answers, nil
}

// As Gatekeeper's main.go does, with external data enabled.
func issue(folder string) error {
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	issuer := rotator.CertRotator{
		CAName:         "gatekeeper-ca",
		CAOrganization: "gatekeeper",
		DNSName:        "gatekeeper-webhook-service.gatekeeper-system.svc",
		ExtKeyUsages:   &usages,
	}
	begin := time.Now().Add(-time.Hour)
	ca, err := issuer.CreateCACert(begin, begin.AddDate(10, 0, 0))
	if err != nil {
		return err
	}
	certificate, key, err := issuer.CreateCertPEM(ca, begin, begin.AddDate(1, 0, 0))
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"ca.crt": ca.CertPEM, "tls.crt": certificate, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func reviewed(ctx context.Context, asked *question) ([]answer, error) {
	providers := externaldata.NewCache()
	if err := providers.Upsert(&asked.Provider); err != nil {
		return nil, err
	}
	options := []rego.Arg{
		rego.AddExternalDataProviderCache(providers),
		rego.AddExternalDataProviderResponseCache(externaldata.NewProviderResponseCache(ctx, 3*time.Minute)),
		rego.DisableBuiltins("http.send"),
	}
	if asked.Certificate != "" {
		watcher, err := certwatcher.New(asked.Certificate, asked.Key)
		if err != nil {
			return nil, err
		}
		options = append(options, rego.EnableExternalDataClientAuth(), rego.AddExternalDataClientCertWatcher(watcher))
	}
	driver, err := rego.New(options...)
	if err != nil {
		return nil, err
	}
	engine, err := client.NewClient(client.Targets(&target.K8sValidationTarget{}), client.Driver(driver), client.EnforcementPoints(point))
	if err != nil {
		return nil, err
	}
	template := &templates.ConstraintTemplate{}
	scheme := runtime.NewScheme()
	if err := v1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := scheme.Convert(asked.Template, template, nil); err != nil {
		return nil, err
	}
	if _, err := engine.AddTemplate(ctx, template); err != nil {
		return nil, err
	}
	if _, err := engine.AddConstraint(ctx, asked.Constraint); err != nil {
		return nil, err
	}
	answers := []answer{}
	for i := range asked.Requests {
		began := time.Now()
		found := answer{Violations: []string{}}
		responses, err := engine.Review(ctx, target.AugmentedReview{AdmissionRequest: &asked.Requests[i]}, reviews.EnforcementPoint(point))
		if err != nil {
			found.Error = err.Error()
		} else {
			for _, result := range responses.Results() {
				found.Violations = append(found.Violations, result.Msg)
			}
		}
		found.Seconds = time.Since(began).Seconds()
		answers = append(answers, found)
	}
	return answers, nil
}
