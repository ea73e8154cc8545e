// The package door `holdfast/browser`: what runs in a tab. Nothing happens at import, so a server may render with it.
export { type ApiClient, type ApiClientOptions, createApiClient } from './api-client.ts'
export { ApiError, isRateLimitError } from './api-error.ts'
export { type Autosave, type AutosaveOptions, type AutosaveState, autosave } from './autosave.ts'
export { describeWait } from './describe-wait.ts'
export { type Poll, type PollOptions, poll } from './poll.ts'
