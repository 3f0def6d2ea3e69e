// Command probe runs in pods for the tests, as a server or as a client of servers.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		hostname, _ := os.Hostname()
		fmt.Println("serving as", hostname)
		log.Fatal(http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "hello from %s\n", hostname)
		})))
	}
	get(os.Args[2])
}

// get prints a page. A path without a host is a path of the API server, requested with the pod's ServiceAccount.
func get(address string) {
	client := &http.Client{Timeout: 5 * time.Second}
	request, err := http.NewRequest(http.MethodGet, address, http.NoBody)
	if address[0] == '/' {
		const account = "/var/run/secrets/kubernetes.io/serviceaccount/"
		token, _ := os.ReadFile(account + "token")
		ca, _ := os.ReadFile(account + "ca.crt")
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(ca)
		client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
		request, err = http.NewRequest(http.MethodGet, "https://"+os.Getenv("KUBERNETES_SERVICE_HOST")+":"+os.Getenv("KUBERNETES_SERVICE_PORT")+address, http.NoBody)
		request.Header.Set("Authorization", "Bearer "+string(token))
	}
	if err != nil {
		log.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	fmt.Printf("%s\n%s", response.Status, body)
}
