// Next evaluates this file once for each bundle: oneHoldfast() makes one instance all the same.
import { oneHoldfast } from 'holdfast/next'

export const holdfast = oneHoldfast()
