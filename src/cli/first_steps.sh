# 1. Sign up: makes an organization with you as its admin.
TOKEN=$(curl -sS @URL@/api/auth/signup -H 'content-type: application/json' \
  -d '{"email":"you@example.com","password":"Change-me-1!","name":"You","organizationName":"Example"}' \
  | sed -n 's/.*"token":"\([^"]*\)".*/\1/p')

# 2. Make a project, and a key for your reporters.
PROJECT=$(curl -sS @URL@/api/projects -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' \
  -d '{"name":"Web shop"}' | sed -n 's/.*"id":"\([0-9a-f]\{24\}\)".*/\1/p')
KEY=$(curl -sS @URL@/api/auth/api-keys -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' \
  -d '{"name":"ci"}' | sed -n 's/.*"apiKey":"\(pk_live_[0-9a-f]*\)".*/\1/p')
echo "a reporter needs: baseUrl @URL@  projectId $PROJECT  apiKey $KEY"

# 3. Send a run: open it, send a line of its log, finish it.
SESSION=$(curl -sS @URL@/api/ingest/setup -H "x-api-key: $KEY" -H 'content-type: application/json' \
  -d '{"projectId":"'$PROJECT'","runName":"first run","framework":"playwright","reporterVersion":"1","totalTests":0}' \
  | sed -n 's/.*"sessionId":"\([^"]*\)".*/\1/p')
curl -sS @URL@/api/ingest/event -H "x-api-key: $KEY" -H 'content-type: application/json' \
  -d '{"sessionId":"'$SESSION'","events":[{"type":"log","chunk":"hello from curl","timestamp":'$(date +%s000)'}]}'; echo
curl -sS @URL@/api/ingest/teardown -H "x-api-key: $KEY" -H 'content-type: application/json' \
  -d '{"sessionId":"'$SESSION'","status":"PASSED","summary":{"total":0,"passed":0,"failed":0,"skipped":0,"duration":1}}'; echo

# 4. Read it; while a run goes on, this follows it.
runstream tail --url @URL@ --key $KEY
